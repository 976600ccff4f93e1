// A task's history, page by page, filtered by outcome. An entry opens to its details.
import { useState } from "preact/hooks";
import { runToCancel } from "./actions";
import { type CallError, call } from "./firebase";
import { ago, duration } from "./format";
import { useLive, useNow } from "./live";
import { Detail, legsOf, produced, working } from "./runs";
import { outcome, remark } from "./strip";
import type { Run, RunPage, Task } from "./wire";
import { Notice, StateWord, Time } from "./words";

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
