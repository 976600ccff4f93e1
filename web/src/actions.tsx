// The operators' actions: each asks for a reason, states its consequence, and reports its outcome.
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { CallError, call } from "./firebase";
import { zoneAt } from "./format";
import { serverNow } from "./live";
import { LAST_LOCAL, timeOfLocal } from "./range";
import { refusal } from "./strip";
import type { Run, Task } from "./wire";

export type Kind = "run" | "suspend" | "resume" | "cancel" | "no-retry";

export interface Asked {
  kind: Kind;
  task: Task;
}

export type Ask = (asked: Asked) => void;

interface Wording {
  button: string;
  title: (task: string) => string;
  consequence: (task: Task) => string;
}

const WORDING: Record<Kind, Wording> = {
  run: {
    button: "Run now",
    title: (task) => `Run ${task} now?`,
    consequence: (task) =>
      `Cloud Scheduler starts a run now, in addition to the schedule, and retries it if it fails. The last good result stays until the run completes.${task.status === "suspended" ? " While the task is suspended, the delivery is skipped." : ""}`,
  },
  suspend: {
    button: "Suspend",
    title: (task) => `Suspend ${task}?`,
    consequence: (task) =>
      `Its ticks are skipped until an operator resumes it, or until the time below. Readers keep getting the last good result.${task.state === "running" ? " The current run finishes." : ""}`,
  },
  resume: {
    button: "Resume",
    title: (task) => `Resume ${task}?`,
    consequence: () => "It runs on schedule again, starting with the next tick.",
  },
  cancel: {
    button: "Cancel run",
    title: (task) => `Cancel the run of ${task}?`,
    consequence: (task) =>
      `The run ${task.run?.legs?.waiting_since ? "waits for its next leg. It ends at once" : "stops at its next progress report and ends"} as cancelled. The last good result stays.`,
  },
  "no-retry": {
    button: "Stop retries",
    title: (task) => `Stop retries of the failed run of ${task}?`,
    consequence: () => "Cloud Scheduler retries a failed run, at growing intervals. This run will not be retried; the next tick runs as scheduled.",
  },
};

/** The run that `cancel` applies to: the current run, or the failed run that may be retried. */
export const runToCancel = (task: Task) => task.run ?? task.retries;

/**
 * The actions that a task's state allows, except "no-retry", which is beside the failure. An action and its opposite
 * have the same place, so that the focus stays.
 */
export function possibleActions(task: Task): Kind[] {
  const kinds: Kind[] = [];
  if (task.state === "running") kinds.push("cancel");
  else kinds.push("run");
  kinds.push(task.status === "suspended" ? "resume" : "suspend");
  return kinds;
}

/** Texts of buttons whose run was cancelled. The buttons stay, so that the focus does. */
const OFF: Partial<Record<Kind, { button: string; why: string }>> = {
  cancel: { button: "Cancelling …", why: "The run is already being cancelled." },
  "no-retry": { button: "Not retried", why: "The run was cancelled and will not be retried." },
};

interface ButtonProps {
  kind: Kind;
  task: Task;
  mayChange: boolean;
  ask: Ask;
}

export function ActionButton({ kind, task, mayChange, ask }: ButtonProps) {
  const cancelled = kind in OFF && runToCancel(task)?.cancel != null;
  const suspended = kind === "run" && task.status === "suspended";
  const off = !mayChange || cancelled || suspended;
  const text = (cancelled && OFF[kind]?.button) || WORDING[kind].button;
  const why = !mayChange ? "Read-only access. Ask an administrator for the operator role." : cancelled ? OFF[kind]?.why : suspended ? "The task is suspended. Resume it first." : undefined;
  return (
    <button
      class={kind}
      aria-disabled={off}
      aria-describedby={mayChange ? undefined : "viewer-note"}
      aria-label={`${text}: ${task.name}`}
      title={why}
      onClick={() => !off && ask({ kind, task })}
    >
      {text}
    </button>
  );
}

const MAX_REASON_LENGTH = 500;

/** The outcome of an action. Its notice is removed once `holds` is false for the task's present state. */
export interface Outcome {
  task: string;
  text: string;
  holds: (task: Task) => boolean;
}

interface DialogProps {
  asked: Asked;
  done: (outcome: Outcome | null) => void;
}

export function ActionDialog({ asked: { kind, task }, done }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [reason, setReason] = useState("");
  const [until, setUntil] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const time = useRef<HTMLInputElement>(null);
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const leave = (outcome: Outcome | null): void => {
    dialog.current?.close(); // returns the focus to the button
    done(outcome);
  };

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (busy) return; // Ctrl+Enter again
    if (reason.trim() === "") return setError("Enter a reason. It is recorded in the task’s history.");
    if (time.current?.validity.valid === false) return setError("Enter a complete date and time, at the latest in the year 9999, or clear the field.");
    if (until !== "" && Date.parse(timeOfLocal(until)) <= serverNow()) return setError("Enter a time in the future, or none.");
    setBusy(true);
    setError("");
    try {
      leave(await carryOut(kind, task, reason.trim(), timeOfLocal(until)));
    } catch (refused) {
      const { message, unreachable } = refused as CallError;
      setError(unreachable ? `${message} The change may have been made. Check the task’s state once the service responds.` : message);
      setBusy(false);
    }
  };

  const { title, consequence, button } = WORDING[kind];
  return (
    <dialog
      ref={dialog}
      aria-labelledby="ask-title"
      onClose={() => done(null)}
    >
      <form noValidate onSubmit={submit} onKeyDown={submitOnControlEnter}>
        <h2 id="ask-title">{title(task.name)}</h2>
        <p id="ask-consequence">{consequence(task)}</p>
        {kind === "suspend" && (
          <label>
            Resume at (optional, your time: {zoneAt(timeOfLocal(until) || new Date(serverNow()).toISOString())})
            <input ref={time} type="datetime-local" max={LAST_LOCAL} value={until} onInput={(event) => setUntil(event.currentTarget.value)} />
          </label>
        )}
        <label>
          Reason
          <textarea
            autofocus
            rows={3}
            dir="auto"
            maxLength={MAX_REASON_LENGTH}
            aria-describedby="ask-consequence"
            value={reason}
            onInput={(event) => setReason(event.currentTarget.value)}
          />
        </label>
        {error !== "" && (
          <p class="notice bad" role="alert">
            {error}
          </p>
        )}
        <div class="choices">
          <button class={kind === "cancel" ? "primary danger" : "primary"} disabled={busy} title="Ctrl+Enter">
            {busy ? "Sending …" : button}
          </button>
          <button type="button" onClick={() => leave(null)}>
            {kind === "cancel" ? "Keep running" : "Close"}
          </button>
        </div>
      </form>
    </dialog>
  );
}

/** Submits a form from its text area, where Enter alone begins a line. */
function submitOnControlEnter(event: KeyboardEvent & { currentTarget: HTMLFormElement }): void {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.currentTarget.requestSubmit();
}

const isRunning = (task: Task): boolean => task.state === "running";
const isSuspended = (task: Task): boolean => task.status === "suspended";

/** @param until When a suspended task resumes, RFC 3339; "" for never. */
async function carryOut(kind: Kind, task: Task, reason: string, until: string): Promise<Outcome> {
  const task_name = task.name;
  const outcomeOf = (text: string, holds: (task: Task) => boolean): Outcome => ({ task: task_name, text, holds });
  switch (kind) {
    case "run": {
      const before = task.started;
      const { outcome, run } = await call<{ outcome: string; run: Run | null }>("run_task", { task_name, reason }, 60);
      if (outcome === "started") return outcomeOf(`Started a run of ${task_name}.`, () => true);
      if (outcome === "busy") return outcomeOf(`${task_name} is already running. No second run was started.`, () => true);
      if (run?.refused) return outcomeOf(`No run of ${task_name} has started yet: ${refusal(run.refused)}.`, (now) => now.started === before);
      return outcomeOf(`Requested a run of ${task_name}. It appears here as soon as Cloud Scheduler starts it.`, (now) => now.started === before);
    }
    case "suspend": {
      const { changed } = await call<{ changed: boolean }>("suspend_task", { task_name, reason, ...(until && { until }) }, 30);
      return outcomeOf(changed ? `${task_name} is suspended.` : `${task_name} was already suspended.`, isSuspended);
    }
    case "resume": {
      const { changed } = await call<{ changed: boolean }>("resume_task", { task_name, reason }, 30);
      return outcomeOf(changed ? `${task_name} runs on schedule again.` : `${task_name} was not suspended.`, (now) => !isSuspended(now));
    }
    case "cancel":
    case "no-retry": {
      const { outcome } = await call<{ outcome: string }>("cancel_run", { task_name, id: runToCancel(task)?.id, reason }, 30);
      const isLast = (now: Task): boolean => now.started === task.started;
      if (outcome === "cancelled") return outcomeOf(kind === "cancel" ? `Cancelled the run of ${task_name}.` : `The failed run of ${task_name} will not be retried.`, isLast);
      if (outcome === "ended") return outcomeOf(`The run of ${task_name} had already ended.`, isLast);
      return outcomeOf(`Cancelling the run of ${task_name}.`, (now) => isLast(now) && isRunning(now));
    }
  }
}
