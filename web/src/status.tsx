// What the overview and a task's view show alike: its status, last good result, record, and next run.
import { ActionButton, type Ask, runToCancel } from "./actions";
import { call } from "./firebase";
import { age, ago, clock, duration, errorText, failureText, legText, nextAttemptText, number, percent, positionsText, plural, size, timeUntil, actorText, zoneAt } from "./format";
import { useLive } from "./live";
import { freshness, isInOtherZone } from "./schedule";
import { recordOf, secondsLeft, trendWords } from "./stats";
import { STRIP_RUNS } from "./strip";
import type { Run, RunPage, Task } from "./wire";
import { Notice, StateWord, Time } from "./words";

export function ViewerNote() {
  return (
    <p class="quiet note" id="viewer-note">
      Read-only access. Ask an administrator for the operator role.
    </p>
  );
}

const STRIP_POLL_SECONDS = 60;

/** A task's last runs. They are fetched again when the task changes, and once a minute for changes that its state does not show. */
export function useLastRuns(task: Task): Run[] | null {
  const changes = [task.state, task.run?.id, task.completed, task.started, task.suspended?.at, runToCancel(task)?.cancel?.at].join();
  const load = (version: string | null) =>
    call<RunPage>("list_runs", { task_name: task.name, limit: STRIP_RUNS, if_version: version });
  return useLive(`strip ${task.name}`, load, () => STRIP_POLL_SECONDS, changes).value?.runs ?? null;
}

export function Next({ task, now }: { task: Task; now: number }) {
  if (!task.next_run) return <span class="quiet">{task.suspended && !task.suspended.until ? "None while suspended" : "None"}</span>;
  return (
    <>
      <Time at={task.next_run} now={now} />
      {isInOtherZone(task) && ` ${zoneAt(task.next_run)}`} <span class="quiet">{timeUntil(task.next_run, now)}</span>
    </>
  );
}

interface StatusProps {
  task: Task;
  runs: Run[];
  now: number;
  /** Whether to show the positions of the run's cursors. */
  positions?: boolean;
  mayChange: boolean;
  ask: Ask;
}

export function Status({ task, runs, now, positions, mayChange, ask }: StatusProps) {
  return (
    <>
      <p>
        <StateWord state={task.status === "suspended" ? "suspended" : task.outcome} /> <span class="quiet">{since(task, now)}</span>
      </p>
      {task.suspended && (
        <p class="detail">
          {task.suspended.until && (
            <>
              Until <Time at={task.suspended.until} now={now} />.{" "}
            </>
          )}
          <bdi>Suspended by {actorText(task.suspended)}</bdi>
        </p>
      )}
      {task.state === "running" && <Working task={task} runs={runs} now={now} positions={positions} />}
      {task.state === "failed" && task.error && <p class={`detail ${task.outcome === "cancelled" ? "" : "error"}`} dir="auto">{errorText(null, firstLine(task.error))}</p>}
      {hasRetries(task, now) && (
        <p class="detail retry">
          {task.next_attempt && <span>{nextAttemptText(task.next_attempt, now)}</span>}
          <ActionButton kind="no-retry" task={task} mayChange={mayChange} ask={ask} />
        </p>
      )}
      {task.problem && <Notice tone="warn">{task.problem}</Notice>}
    </>
  );
}

/** Whether the last run failed and may be tried again, or was until an operator stopped its retries. */
const hasRetries = (task: Task, now: number): boolean => task.retries !== null && now < Date.parse(task.retries.until);

const firstLine = (text: string): string => text.split("\n", 1)[0] as string;

function since(task: Task, now: number): string {
  if (task.suspended) return ago(task.suspended.at, now);
  if (task.status === "running" && task.started) return `for ${age((now - Date.parse(task.started)) / 1000)}`;
  return task.completed ? ago(task.completed, now) : "";
}

/** The current run: its progress, an estimate of the time left, and its leg. */
function Working({ task, runs, now, positions }: { task: Task; runs: Run[]; now: number; positions?: boolean | undefined }) {
  const progress = task.run?.progress ?? null;
  const left = secondsLeft(task, runs, now);
  const total = progress?.total ?? null;
  const counted = progress && (total === null ? number(progress.done) : `${number(progress.done)} of ${number(total)}`);
  const remaining = left === null ? null : left > 0 ? `about ${age(Math.max(1, left))} left` : "longer than expected";
  const parts = [counted, progress?.message, remaining, (task.run?.attempt ?? 1) > 1 && `attempt ${task.run?.attempt}`];
  const { legs = null, checkpoint = null, last_failure: failure = null } = task.run ?? {};
  const saved = positions && checkpoint ? positionsText(checkpoint.positions) : "";
  return (
    <div class="working">
      <progress aria-label={`Progress of ${task.name}`} {...(total ? { value: Math.min(progress?.done ?? 0, total), max: total } : {})} />
      <p class="detail" dir="auto">{parts.filter(Boolean).join(" · ") || "No progress reported yet"}</p>
      {legs && (
        <p class="detail leg">
          {legText(legs, now)} · deadline <Time at={legs.deadline} now={now} />
        </p>
      )}
      {saved && (
        <p class="detail" dir="auto">
          At {saved}
        </p>
      )}
      {failure && <p class="detail error" dir="auto">{firstLine(failureText(failure))}</p>}
      {task.run?.cancel && (
        <p class="detail">
          <bdi>Cancellation requested by {actorText(task.run.cancel)}</bdi>
        </p>
      )}
    </div>
  );
}

/** Ticks of the schedule that the gauge shows. */
const GAUGE_TICKS = 3;

/** The age of the last good result, as text and as a gauge whose marks are the schedule's ticks. */
export function Freshness({ task, now }: { task: Task; now: number }) {
  const { result } = task;
  if (task.save_in === "none") return <p class="quiet">No result kept</p>;
  if (!result?.completed) return <p class="quiet">No result yet</p>;
  const seconds = (now - Date.parse(result.completed)) / 1000;
  const fresh = freshness(task, result.completed, now);
  const facts = [result.size_bytes !== null && size(result.size_bytes), result.count !== null && plural(result.count, "record")];
  return (
    <>
      <p>
        <span class="figure">{age(seconds)}</span> old{fresh.words && <span class={`verdict ${fresh.tone}`}> · {fresh.words}</span>}
      </p>
      {fresh.ticks !== null && (
        <div class={`gauge ${fresh.tone}`} aria-hidden="true" title={`Completed at ${clock(result.completed, now, true)}; each mark is a tick of the schedule`}>
          <b style={{ width: `${Math.min(100, (100 * fresh.ticks) / GAUGE_TICKS)}%` }} />
        </div>
      )}
      <p class="quiet">{facts.filter(Boolean).join(" · ")}</p>
    </>
  );
}

export function RecordWords({ runs }: { runs: Run[] }) {
  // "Usually" is the median of the completed ones of these runs, here and in the charts.
  const { ended, completed, usual, trend } = recordOf(runs);
  if (ended === 0) return <p class="quiet">No completed or failed run</p>;
  return (
    <>
      <p>
        <span class="figure">{percent(completed / ended)}</span> <span class="quiet">of {plural(ended, "run")}</span>
      </p>
      {usual !== null && (
        <p>
          <span class="figure">{duration(usual)}</span> <span class="quiet">usually{trendWords(trend) && `, ${trendWords(trend)}`}</span>
        </p>
      )}
    </>
  );
}
