// A task's history, page by page, filtered by outcome. An entry opens to its details.
import { useEffect, useState } from "preact/hooks";
import { CallError, call } from "./firebase";
import { runToCancel } from "./actions";
import { ago, duration, errorText, failureText, legText, plural, positionsText, size, trigger, actorText } from "./format";
import { useLive, useNow } from "./live";
import { go, taskPath } from "./router";
import { outcome, refusal, remark } from "./strip";
import type { Run, RunPage, Task } from "./wire";
import { Facts, Notice, StateWord, Time } from "./words";

/** The filters, each with the states that it selects. */
const FILTERS: [name: string, states: string[]][] = [
  ["All", []],
  ["Completed", ["completed"]],
  ["Failed", ["failed"]],
  ["Skipped or missed", ["skipped", "refused", "missed_tick", "lost_leg", "overdue_original"]],
  ["By operators", ["suspended", "resumed", "cancelling", "requested"]],
];
const PAGE_RUNS = 50;
const POLL_SECONDS = 10;

interface Older {
  runs: Run[];
  cursor: string | null;
}

export function History({ task }: { task: Task }) {
  const now = useNow();
  const [filter, setFilter] = useState(0);
  const [older, setOlder] = useState<Older | null>(null);
  const [error, setError] = useState("");
  const states = (FILTERS[filter] as (typeof FILTERS)[number])[1];
  const wanted = { task_name: task.name, limit: PAGE_RUNS, ...(states.length > 0 ? { states } : {}) };
  const page = useLive<RunPage>(
    `history ${task.name} ${filter}`,
    (version) => call("list_runs", { ...wanted, if_version: version }),
    () => POLL_SECONDS,
    [task.state, task.completed, task.started, task.suspended?.at, runToCancel(task)?.cancel?.at].join(),
  );
  const choose = (index: number): void => {
    setFilter(index);
    setOlder(null);
    setError("");
  };
  const cursor = older ? older.cursor : (page.value?.next_cursor ?? null);
  const more = async (): Promise<void> => {
    try {
      const next = await call<RunPage>("list_runs", { ...wanted, cursor });
      setOlder({ runs: [...(older?.runs ?? []), ...next.runs], cursor: next.next_cursor });
      setError("");
    } catch (refused) {
      setError((refused as CallError).message);
    }
  };
  const runs = distinct([...(page.value?.runs ?? []), ...(older?.runs ?? [])]);
  return (
    <section aria-labelledby="history-title" class="runs">
      <div class="bar">
        <h2 id="history-title">History</h2>
        <div class="filters" role="group" aria-label="Filter by outcome">
          {FILTERS.map(([name], index) => (
            <button key={name} aria-pressed={index === filter} onClick={() => choose(index)}>
              {name}
            </button>
          ))}
        </div>
      </div>
      {page.error && <Notice tone="warn">The history may be out of date: {page.error.message}</Notice>}
      {page.value && runs.length === 0 && <p class="quiet">No matching entries.</p>}
      <ol>
        {runs.map((run) => (
          <Entry key={run.id} task={task.name} run={run} now={now} />
        ))}
      </ol>
      {cursor !== null && runs.length > 0 && <button onClick={() => void more()}>Show older entries</button>}
      {error !== "" && <Notice tone="bad">{error} Try again.</Notice>}
    </section>
  );
}

const distinct = (runs: Run[]): Run[] => [...new Map(runs.map((run) => [run.id, run])).values()];

function Entry({ task, run, now }: { task: string; run: Run; now: number }) {
  const [open, setOpen] = useState(false);
  const at = run.started ?? run.completed ?? run.scheduled_for;
  return (
    <li data-run={run.id} data-state={run.state}>
      <button class="entry" aria-expanded={open} onClick={() => setOpen(!open)}>
        <StateWord state={run.state}>{outcome(run)}</StateWord>
        <span class="when">{at && <Time at={at} now={now} seconds />}</span>
        <span class="took figure">{run.duration_seconds === null ? "" : duration(run.duration_seconds)}</span>
        <span class="what" dir="auto">
          {(run.attempt ?? 1) > 1 && <span class="badge">attempt {run.attempt}</span>}{" "}
          {run.requested && <span class="badge">Requested by {run.requested.by}</span>} {legsOf(run, now)}
          {remark(run) || produced(run)}
        </span>
        <span class="ago quiet">{at && ago(at, now)}</span>
      </button>
      {open && <Detail task={task} id={run.id} version={`${run.state} ${run.completed} ${working(run)}`} />}
    </li>
  );
}

/** What changes while a run works. */
const working = ({ attempt, legs, progress }: Pick<Run, "attempt" | "legs" | "progress">): string =>
  [attempt, legs?.number, legs?.waiting_since, progress?.at].join(" ");

/** The leg of a long run, or how many it needed. */
function legsOf({ legs, state }: Run, now: number): string {
  if (!legs) return "";
  return `${state === "running" ? legText(legs, now) : plural(legs.number, "leg")} · `;
}

function produced({ result, progress, state }: Run): string {
  if (result) {
    const facts = [result.count !== null && plural(result.count, "record"), result.size_bytes !== null && size(result.size_bytes)];
    return facts.filter(Boolean).join(", ");
  }
  return state === "running" ? reached(progress) : "";
}

const reached = (progress: Run["progress"]): string =>
  progress ? `${progress.done}${progress.total ? ` of ${progress.total}` : ""} ${progress.message ?? ""}` : "";

/** The run that the address names, whichever entries the history shows. */
export function RunPanel({ task, id }: { task: Task; id: string }) {
  return (
    <section class="panel" aria-labelledby="run-title">
      <div class="bar">
        <h2 id="run-title">Run</h2>
        <button class="plain" onClick={() => go(taskPath(task.name))}>
          Close
        </button>
      </div>
      <Detail task={task.name} id={id} version={task.run?.id === id ? working(task.run) : ""} />
    </section>
  );
}

function Detail({ task, id, version }: { task: string; id: string; version: string }) {
  const now = useNow();
  const [run, setRun] = useState<Run | null>(null);
  const [error, setError] = useState("");
  useEffect(() => {
    let gone = false;
    call<Run>("get_run", { task_name: task, id }).then(
      (found) => !gone && (setRun(found), setError("")),
      (refused: CallError) => !gone && setError(refused.message),
    );
    return () => void (gone = true);
  }, [task, id, version]);
  if (error !== "") return <Notice tone="bad">{error}</Notice>;
  if (run === null) return <p class="quiet">Loading …</p>;
  const failure = run.error ?? run.last_failure;
  const facts: [string, preact.ComponentChildren][] = [
    ["Outcome", outcome(run)],
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
    ["Trigger", run.source && trigger(run.source, run.scheduled_for, run.requested)],
    [run.state === "failed" ? "Cancelled by" : "Operator", run.by],
    ["Reason", run.reason],
    ["Holder", run.holder],
    ["Requested by", run.requested && actorText(run.requested)],
    ["Refused deliveries", run.refused && refusal(run.refused)],
    ["Result", produced(run)],
    ["Progress", run.state === "failed" && reached(run.progress)],
    ["Run ID", <code key="id">{run.id}</code>],
  ];
  return (
    <div class="run">
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
          <p class="error" dir="auto">
            {run.error ? errorText(failure.type, failure.message) : failureText(failure)}
          </p>
          {failure.traceback && <Trace lines={failure.traceback.split("\n")} />}
        </>
      )}
      {run.result?.summary != null && (
        <>
          <h3>Summary</h3>
          <Facts value={run.result.summary} folded />
        </>
      )}
    </div>
  );
}

/** Matches lines of a traceback for calls of the engine or of a library (`shared/tasks/trace.py`). */
const FOLDED = /^ *\[(engine|library)\] /;

/** A traceback; calls of the engine and of libraries are folded, unless there are no others. */
function Trace({ lines }: { lines: string[] }) {
  const groups: string[][] = [];
  for (const line of lines) {
    const group = groups.at(-1);
    if (group && FOLDED.test(group[0] as string) === FOLDED.test(line)) group.push(line);
    else groups.push([line]);
  }
  return (
    <div class="trace" role="group" tabIndex={0} aria-label="Traceback">
      {groups.map((group, index) =>
        FOLDED.test(group[0] as string) && groups.length > 1 ? (
          <details key={index}>
            <summary>{plural(group.length, "call")} of the engine and of libraries</summary>
            <pre>{group.join("\n")}</pre>
          </details>
        ) : (
          <pre key={index}>{group.join("\n")}</pre>
        ),
      )}
    </div>
  );
}
