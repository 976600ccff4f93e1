// What an operator can have done: each asks for a reason, says what will happen, and tells what came of it.
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { CallError, call } from "./firebase";
import { refusal } from "./strip";
import type { Run, Task } from "./wire";

export type Kind = "run" | "suspend" | "resume" | "cancel" | "no-retry";

export interface Asked {
  kind: Kind;
  task: Task;
}

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
      `Cloud Scheduler delivers it now, beside its schedule, and again if it fails. The last result stays until the run has a new one.${task.status === "suspended" ? " While the task is suspended, the delivery is skipped." : ""}`,
  },
  suspend: {
    button: "Suspend",
    title: (task) => `Suspend ${task}?`,
    consequence: (task) =>
      `Its ticks are skipped until somebody resumes it; readers keep the last result.${task.state === "running" ? " The run that is at work finishes." : ""}`,
  },
  resume: {
    button: "Resume",
    title: (task) => `Resume ${task}?`,
    consequence: () => "It runs on its schedule again, from the next tick on.",
  },
  cancel: {
    button: "Cancel run",
    title: (task) => `Cancel the run of ${task}?`,
    consequence: () => "The run is asked to stop where it next tells its progress, and ends as failed. The last result stays.",
  },
  "no-retry": {
    button: "Stop retries",
    title: (task) => `Stop retries of the failed run of ${task}?`,
    consequence: () => "Cloud Scheduler delivers a failed run again, each time later. This one is not begun anew; the next tick runs as ever.",
  },
};

/** The run that a cancel is for: the one at work, or the failed one that may be delivered again. */
export const toCancel = (task: Task) => task.run ?? task.retries;

/** What can be done with a task as it stands; each place holds a thing and its opposite, so that the focus stays there. */
export function possible(task: Task): Kind[] {
  const kinds: Kind[] = [];
  if (task.state === "running") kinds.push("cancel");
  else kinds.push("run");
  kinds.push(task.status === "suspended" ? "resume" : "suspend");
  if (task.retries && Date.now() < Date.parse(task.retries.until)) kinds.push("no-retry");
  return kinds;
}

/** What buttons say once their run is cancelled: they stay, so that the focus does. */
const OFF: Partial<Record<Kind, { button: string; why: string }>> = {
  cancel: { button: "Cancelling …", why: "It was asked to stop." },
  "no-retry": { button: "Not retried", why: "It was cancelled: no delivery begins it anew." },
};

interface ButtonProps {
  kind: Kind;
  task: Task;
  mayChange: boolean;
  ask: (asked: Asked) => void;
}

export function ActionButton({ kind, task, mayChange, ask }: ButtonProps) {
  const cancelled = kind in OFF && toCancel(task)?.cancel != null;
  const suspended = kind === "run" && task.status === "suspended";
  const off = !mayChange || cancelled || suspended;
  const text = (cancelled && OFF[kind]?.button) || WORDING[kind].button;
  const why = !mayChange ? "Only operators can do this; your role lets you look." : cancelled ? OFF[kind]?.why : suspended ? "The task is suspended: resume it to run it." : undefined;
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

const MOST_REASON = 500;

/** What came of an action, and whether that still holds as a task stands: the notice goes when it no longer does. */
export interface Outcome {
  task: string;
  said: string;
  holds: (task: Task) => boolean;
}

interface DialogProps {
  asked: Asked;
  done: (outcome: Outcome | null) => void;
}

export function ActionDialog({ asked: { kind, task }, done }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  useLayoutEffect(() => dialog.current?.showModal(), []);
  const leave = (outcome: Outcome | null): void => {
    dialog.current?.close(); // gives the focus back to the button
    done(outcome);
  };

  const submit = async (event: Event): Promise<void> => {
    event.preventDefault();
    if (reason.trim() === "") return setError("Say why: it is kept in the task’s history, for whoever asks later.");
    setBusy(true);
    setError("");
    try {
      leave(await carryOut(kind, task, reason.trim()));
    } catch (refused) {
      const said = refused as CallError;
      setError(said.unreachable ? `${said.message} Whether it was done shows in the task’s state once the service is back.` : said.message);
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
      <form onSubmit={submit}>
        <h2 id="ask-title">{title(task.name)}</h2>
        <p id="ask-consequence">{consequence(task)}</p>
        <label>
          Reason
          <textarea
            rows={3}
            dir="auto"
            maxLength={MOST_REASON}
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
          <button type="button" onClick={() => leave(null)}>
            Leave it
          </button>
          <button class={kind === "cancel" ? "primary danger" : "primary"} disabled={busy}>
            {busy ? "Asking …" : button}
          </button>
        </div>
      </form>
    </dialog>
  );
}

const isRunning = (task: Task): boolean => task.state === "running";
const isSuspended = (task: Task): boolean => task.status === "suspended";

async function carryOut(kind: Kind, task: Task, reason: string): Promise<Outcome> {
  const task_name = task.name;
  const outcomeOf = (said: string, holds: (task: Task) => boolean): Outcome => ({ task: task_name, said, holds });
  switch (kind) {
    case "run": {
      const before = task.started;
      const { outcome, run } = await call<{ outcome: string; run: Run | null }>("run_task", { task_name, reason }, 60);
      if (outcome === "started") return outcomeOf(`Started a run of ${task_name}.`, () => true);
      if (outcome === "busy") return outcomeOf(`${task_name} was at work already: no second run was started.`, () => true);
      if (run?.refused) return outcomeOf(`No run of ${task_name} has begun yet: ${refusal(run.refused)}.`, (now) => now.started === before);
      return outcomeOf(`Cloud Scheduler took it; no run of ${task_name} has begun yet. It shows here as soon as one does.`, (now) => now.started === before);
    }
    case "suspend": {
      const { changed } = await call<{ changed: boolean }>("suspend_task", { task_name, reason }, 30);
      return outcomeOf(changed ? `${task_name} is suspended.` : `${task_name} was suspended before.`, isSuspended);
    }
    case "resume": {
      const { changed } = await call<{ changed: boolean }>("resume_task", { task_name, reason }, 30);
      return outcomeOf(changed ? `${task_name} is on its schedule again.` : `${task_name} was not suspended.`, (now) => !isSuspended(now));
    }
    case "cancel":
    case "no-retry": {
      const { outcome } = await call<{ outcome: string }>("cancel_run", { task_name, id: toCancel(task)?.id, reason }, 30);
      const isLast = (now: Task): boolean => now.started === task.started;
      if (outcome === "cancelled") return outcomeOf(`That run of ${task_name} had failed, and is not tried again.`, isLast);
      if (outcome === "ended") return outcomeOf(`That run of ${task_name} had ended before.`, isLast);
      return outcomeOf(`The run of ${task_name} is asked to stop.`, (now) => isLast(now) && isRunning(now));
    }
  }
}
