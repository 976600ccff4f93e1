// One run: its details, and the panel that shows the run that a link opened.
import { useId } from "preact/hooks";
import { call } from "./firebase";
import { duration, errorText, failureText, legText, nextAttemptText, number, plural, positionsText, size, trigger, word } from "./format";
import { serverNow, useLive, useModule, useNow } from "./live";
import { refusal } from "./strip";
import { Trace } from "./trace";
import type { Run, RunAnswer, RunLog, Task, Unmodified } from "./wire";
import { Facts, Notice, Time } from "./words";

/** What changes while a run works. */
export const working = ({ attempt, legs, progress }: Pick<Run, "attempt" | "legs" | "progress">): string =>
  [attempt, legs?.number, legs?.waiting_since, progress?.at].join(" ");

/** The leg of a long run, or how many it needed. */
export function legsOf({ legs, state }: Run, now: number): string {
  if (!legs) return "";
  return `${state === "running" ? legText(legs, now) : plural(legs.number, "leg")} · `;
}

export function produced({ result, progress, state }: Run): string {
  if (result) {
    const facts = [result.count !== null && plural(result.count, "record"), result.size_bytes !== null && size(result.size_bytes)];
    return facts.filter(Boolean).join(", ");
  }
  return state === "running" ? reached(progress) : "";
}

const reached = (progress: Run["progress"]): string =>
  progress ? `${number(progress.done)}${progress.total ? ` of ${number(progress.total)}` : ""} ${progress.message ?? ""}` : "";

/** A run that a link opened, whichever entries the history shows. */
export function RunPanel({ task, id, close }: { task: Task; id: string; close: () => void }) {
  const title = useId();
  return (
    <section class="panel" aria-labelledby={title}>
      <div class="bar">
        <h2 id={title}>Run</h2>
        <button class="plain" onClick={close}>
          Close
        </button>
      </div>
      <Detail task={task.name} id={id} version={task.run?.id === id ? working(task.run) : ""} />
    </section>
  );
}

/** Seconds between two requests of a run that works, so that its log is live. */
const WORKING_POLL_SECONDS = 3;
/** Of a run that waits for its next leg or attempt; its log does not change. */
const WAITING_POLL_SECONDS = 10;
/** Of a record that does not change any more. */
const ENDED_POLL_SECONDS = 600;

function pollSeconds(run: Run | null): number {
  if (run?.next_attempt || run?.legs?.waiting_since) return WAITING_POLL_SECONDS;
  // A record of a request has no end of its own: its run is another entry.
  const isOpenRequest = run?.state === "requested" && run.expires !== null && Date.parse(run.expires) > serverNow();
  return run?.state === "running" || isOpenRequest ? WORKING_POLL_SECONDS : ENDED_POLL_SECONDS;
}

export function Detail({ task, id, version }: { task: string; id: string; version: string }) {
  const now = useNow();
  const load = (known: string | null) => call<RunAnswer | Unmodified>("get_run", { task_name: task, id, if_version: known });
  const { value: run, error } = useLive<RunAnswer>(`run ${task} ${id}`, load, pollSeconds, version);
  if (run === null) return error ? <Notice tone="bad">{error.message}</Notice> : <p class="quiet">Loading …</p>;
  const failure = run.error ?? run.last_failure;
  const facts: [string, preact.ComponentChildren][] = [
    ["Outcome", word(run.outcome)],
    ["Scheduled for", run.scheduled_for && <Time at={run.scheduled_for} now={now} seconds />],
    ["Started", run.started && <Time at={run.started} now={now} seconds />],
    ["Ended", run.completed && <Time at={run.completed} now={now} seconds />],
    ["Duration", run.duration_seconds !== null && duration(run.duration_seconds)],
    ["Attempt", run.attempt],
    [run.state === "running" ? "Leg" : "Legs", run.legs && (run.state === "running" ? legText(run.legs, now) : run.legs.number)],
    ["Deadline", run.legs && <Time at={run.legs.deadline} now={now} seconds />],
    ["Work of ended attempts", run.legs && run.state === "running" && duration(run.legs.worked_seconds)],
    ["Persisted", run.checkpoint && `${plural(run.checkpoint.steps, "step")}, ${plural(run.checkpoint.parts, "part")}`],
    ["Positions", run.checkpoint && positionsText(run.checkpoint.positions)],
    ["Trigger", (run.source || run.requested) && trigger(run.source, run.scheduled_for, run.requested)],
    [run.outcome === "cancelled" ? "Cancelled by" : "Operator", run.by],
    ["Reason", run.reason],
    ["Until", run.until && <Time at={run.until} now={now} />],
    ["Next attempt", run.next_attempt && nextAttemptText(run.next_attempt, now)],
    ["Holder", run.holder],
    ["Refused deliveries", run.refused && refusal(run.refused)],
    [run.state === "running" ? "Progress" : "Result", produced(run)],
    ["Progress", run.state === "failed" && reached(run.progress)],
    ["Run ID", <code key="id">{run.id}</code>],
  ];
  return (
    <div class="run">
      {error && <Notice tone="warn">This run may be out of date: {error.message}</Notice>}
      <dl class="facts">
        {facts.map(
          ([name, value]) =>
            value && (
              <div key={name}>
                <dt>{name}</dt>
                <dd dir="auto">{value}</dd>
              </div>
            ),
        )}
      </dl>
      {failure && (
        <>
          <p class={run.outcome === "cancelled" ? "" : "error"} dir="auto">
            {run.error ? errorText(failure.type, failure.message) : failureText(failure)}
          </p>
          {failure.traceback && <Trace lines={failure.traceback.split("\n")} error={errorText(failure.type, failure.message)} />}
        </>
      )}
      {run.result?.summary != null && (
        <>
          <h3>Summary</h3>
          <Facts value={run.result.summary} folded />
        </>
      )}
      {run.log && <LogPart task={task} run={run} log={run.log} />}
    </div>
  );
}

function LogPart(props: { task: string; run: Run; log: RunLog }) {
  const module = useModule(() => import("./log"));
  if (module === null) return <p class="quiet">The log could not be loaded. The page tries again automatically.</p>;
  return module ? <module.Log {...props} /> : null;
}
