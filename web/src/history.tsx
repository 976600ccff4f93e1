// A task's history with filters, text search and time range, and equal errors with their count. The address holds all of
// these and the opened entries.
import { useEffect, useRef } from "preact/hooks";
import { actorText, ago, clock, duration, errorText, number, plural, word } from "./format";
import { type LoadedHistory, useHistory } from "./history-pages";
import { useNow } from "./live";
import { RangeFields, rangeOf } from "./range";
import { SearchField, goQuery, useParam, usePlace } from "./router";
import { Detail, RunPanel, legsOf, produced, working } from "./runs";
import { matcher } from "./search";
import { remark } from "./strip";
import type { Run, Task } from "./wire";
import { Notice, StateWord, Time } from "./words";

interface Filter {
  name: string;
  /** Its value in the address. */
  value: string;
  /** The states that it selects; empty for all. */
  states: string[];
  /** The outcome that it selects among these states; cancelled and failed runs have the same state. */
  outcome?: string;
}

const FILTERS: Filter[] = [
  { name: "All", value: "", states: [] },
  { name: "Completed", value: "completed", states: ["completed"] },
  { name: "Failed", value: "failed", states: ["failed"], outcome: "failed" },
  { name: "Cancelled", value: "cancelled", states: ["failed"], outcome: "cancelled" },
  { name: "Skipped or missed", value: "skipped", states: ["skipped", "refused", "missed_tick", "lost_leg", "overdue_original"] },
  { name: "By operators", value: "operators", states: ["suspended", "resumed", "cancelling", "requested"] },
];

/** What a search finds an entry by. */
function textOf(run: Run): string {
  const requested = run.requested && `requested by ${actorText(run.requested)}`;
  return [run.id, word(run.outcome), run.source, remark(run), run.reason, run.by, requested, run.holder, run.progress?.message, produced(run)].filter(Boolean).join(" ");
}

/** A failed run's error in the address and as a group: equal texts are equal errors. */
const errorOf = (run: Run): string | null =>
  run.outcome === "failed" && run.error ? errorText(run.error.type, run.error.message).slice(0, MAX_ERROR_LENGTH) : null;

const MAX_ERROR_LENGTH = 300;
/** Each opened entry polls the service, so an address opens at most this many: the last ones. */
const MAX_OPENED = 10;

const lastOpened = (ids: string[]): string[] => [...new Set(ids)].slice(-MAX_OPENED);

export function History({ task }: { task: Task }) {
  const now = useNow();
  const { query } = usePlace();
  const [show, setShow] = useParam("show");
  const [search] = useParam("q");
  const [error] = useParam("error");
  const [span, from, to] = ["range", "from", "to"].map((name) => query.get(name) ?? "") as [string, string, string];
  const { start, end, problem } = rangeOf(span, from, to, now);
  const filter = FILTERS.find(({ value }) => value === show) ?? (FILTERS[0] as Filter);
  const partial = search !== "" || error !== "" || filter.outcome !== undefined;
  const contains = matcher(search);
  const history = useHistory(task, {
    states: filter.states,
    range: problem ? "" : `${span} ${from} ${to}`,
    start: problem ? null : start,
    end: problem ? null : end,
    matches: partial
      ? (run) => (!filter.outcome || run.outcome === filter.outcome) && (error === "" || errorOf(run) === error) && contains(textOf(run))
      : null,
    search: [filter.outcome, search, error].join("\n"),
  });
  const opened = lastOpened(query.getAll("entry"));
  const { hits } = history;
  const list = useRef<HTMLOListElement>(null);
  useArrivalAt(list, hits !== null);
  const elsewhere = hits === null || history.loading ? [] : opened.filter((id) => !hits.some((run) => run.id === id));
  const toggle = (id: string, open: boolean): void => goQuery({ entry: open ? lastOpened([...opened, id]) : opened.filter((each) => each !== id) });
  return (
    <section aria-labelledby="history-title" class="runs">
      <div class="bar">
        <h2 id="history-title">History</h2>
        <div class="filters" role="group" aria-label="Filter by outcome">
          {FILTERS.map(({ name, value }) => (
            <button key={value} aria-pressed={value === filter.value} onClick={() => setShow(value)}>
              {name}
            </button>
          ))}
        </div>
        <SearchField param="q" label="Search the history" />
        <RangeFields />
      </div>
      {problem && <Notice tone="bad">{problem}</Notice>}
      {history.stale && <Notice tone="warn">The history may be out of date: {history.stale.message}</Notice>}
      {error !== "" && (
        <p class="chip">
          <span>
            Only this error: <q dir="auto">{error}</q>
          </span>
          <button class="plain" onClick={() => goQuery({ error: "" })}>
            Show all entries
          </button>
        </p>
      )}
      {error === "" && <EqualErrors runs={hits ?? []} />}
      {elsewhere.map((id) => (
        <RunPanel key={id} task={task} id={id} close={() => toggle(id, false)} />
      ))}
      {partial && hits !== null && <Searched history={history} now={now} />}
      {!partial && hits?.length === 0 && <p class="quiet">{filter.value === "" && !start && !end ? "No entries yet." : "No entry matches."}</p>}
      <ol ref={list}>
        {(hits ?? []).map((run) => (
          <Entry key={run.id} task={task.name} run={run} now={now} open={opened.includes(run.id)} toggle={toggle} />
        ))}
      </ol>
      {history.error && <Notice tone="bad">{history.error.message} Try again.</Notice>}
      {history.more && !history.loading && (
        <button onClick={history.loadMore}>{partial ? "Search older entries" : "Show older entries"}</button>
      )}
    </section>
  );
}

/** Scrolls to the first entry that a shared link opened, once. */
function useArrivalAt(list: { current: HTMLElement | null }, shown: boolean): void {
  const arrived = useRef(false);
  useEffect(() => {
    if (!shown || arrived.current) return;
    arrived.current = true;
    list.current?.querySelector("[aria-expanded=true]")?.scrollIntoView({ block: "center" });
  }, [shown]);
}

/** How far a search among loaded entries went, and what it found. */
function Searched({ history: { hits, loaded, more, loading }, now }: { history: LoadedHistory; now: number }) {
  const found = hits?.length ?? 0;
  const oldest = loaded.at(-1)?.started;
  const far = more && oldest ? `, back to ${clock(oldest, now)}` : "";
  const text =
    loaded.length === 0
      ? "No entry matches."
      : `${found === 0 ? "No match" : plural(found, "match", "matches")} in ${loaded.length === 1 ? "the only entry" : `${more ? "the newest" : "all"} ${number(loaded.length)} entries`}${far}.`;
  return (
    <p class={found === 0 && !loading ? "none" : "quiet"} role="status">
      {loading ? `Searching … ${text}` : text}
    </p>
  );
}

/** Errors that several of these runs share, the most frequent one first. */
function EqualErrors({ runs }: { runs: Run[] }) {
  const groups = new Map<string, number>();
  for (const error of runs.map(errorOf)) if (error !== null) groups.set(error, (groups.get(error) ?? 0) + 1);
  const repeated = [...groups].filter(([, count]) => count > 1).toSorted(([, one], [, other]) => other - one);
  if (repeated.length === 0) return null;
  return (
    <div class="equal-errors" role="group" aria-label="Errors of several of these runs">
      {repeated.map(([error, count]) => (
        <button key={error} class="plain" onClick={() => goQuery({ error })} title="Show only these runs">
          <b class="figure">{plural(count, "run")}</b> <span dir="auto">{error}</span>
        </button>
      ))}
    </div>
  );
}

interface EntryProps {
  task: string;
  run: Run;
  now: number;
  open: boolean;
  toggle: (id: string, open: boolean) => void;
}

function Entry({ task, run, now, open, toggle }: EntryProps) {
  const at = run.started ?? run.completed ?? run.scheduled_for;
  const outcome = run.outcome;
  return (
    <li data-run={run.id} data-state={outcome}>
      <button class="entry" aria-expanded={open} onClick={() => toggle(run.id, !open)}>
        <StateWord state={outcome} />
        <span class="when">{at && <Time at={at} now={now} seconds />}</span>
        <span class="took figure">{run.duration_seconds === null ? "" : duration(run.duration_seconds)}</span>
        <span class="what" dir="auto">
          {(run.attempt ?? 1) > 1 && <span class="badge">attempt {run.attempt}</span>}{" "}
          {run.requested && (
            <>
              <span class="badge">Requested by {run.requested.by}</span>
              {run.requested.reason && `: ${run.requested.reason}`}
              {" · "}
            </>
          )}
          {legsOf(run, now)}
          {remark(run) || produced(run)}
        </span>
        <span class="ago quiet">{at && ago(at, now)}</span>
      </button>
      {open && <Detail task={task} id={run.id} version={`${run.state} ${run.completed} ${working(run)}`} />}
    </li>
  );
}
