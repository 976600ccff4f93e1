// Loads a task's history: the first page is kept up to date, older pages are added on demand. A search that the service
// does not do, by text or by error, looks at the loaded entries and loads older ones until it has found enough.
import { useEffect, useRef, useState } from "preact/hooks";
import { runToCancel } from "./actions";
import { type CallError, call } from "./firebase";
import { useLive } from "./live";
import type { Run, RunPage, Task } from "./wire";

const PAGE_RUNS = 50;
/** Size of a page that is loaded to be searched: the service's maximum. */
const SEARCH_PAGE_RUNS = 200;
/** A search loads older entries until it has this many hits. */
const ENOUGH_HITS = 25;
/** A search loads at most this many entries at a time. */
const SEARCH_STEP = 1000;
const POLL_SECONDS = 10;
const ROUNDING_MS = 300_000;

export interface HistoryQuery {
  /** States to list; empty for all. */
  states: string[];
  /** Identifies the time range. One that follows the time stays the same while its start moves. */
  range: string;
  /** Start and end of the range, RFC 3339, for the start of runs. Runs at the end itself are not in it. */
  start: string | null;
  end: string | null;
  /** Selects among the loaded entries; null for all of them. */
  matches: ((run: Run) => boolean) | null;
  /** Identifies `matches`. */
  search: string;
}

export interface LoadedHistory {
  /** The matching entries, newest first; null before the first response. */
  hits: Run[] | null;
  /** All loaded entries, newest first. */
  loaded: Run[];
  /** Whether there are older entries. */
  more: boolean;
  loading: boolean;
  /** Why the first page may be out of date, and why older entries could not be loaded. */
  stale: CallError | null;
  error: CallError | null;
  loadMore: () => void;
}

interface Loaded {
  key: string;
  runs: Run[];
  /** Position of the next older page; null at the end, undefined before the first response. */
  cursor: string | null | undefined;
  page: RunPage | null;
}

export function useHistory(task: Task, { states, range, start, end, matches, search }: HistoryQuery): LoadedHistory {
  const wanted = { task_name: task.name, ...(states.length > 0 && { states }), ...(start && { since: roundedDown(start) }), ...(end && { until: end }) };
  const key = JSON.stringify([task.name, states, range]);
  const latest = useRef(wanted);
  latest.current = wanted;
  const page = useLive<RunPage>(
    `history ${key}`,
    (version) => call("list_runs", { ...latest.current, limit: PAGE_RUNS, if_version: version }),
    () => POLL_SECONDS,
    [task.state, task.completed, task.started, task.suspended?.at, runToCancel(task)?.cancel?.at].join(),
  );
  const held = useRef<Loaded>({ key, runs: [], cursor: undefined, page: null });
  if (held.current.key !== key) held.current = { key, runs: [], cursor: undefined, page: null };
  if (page.value && page.value !== held.current.page) held.current = withFirstPage(held.current, page.value);
  const { cursor } = held.current;
  const runs = held.current.runs.filter(({ started }) => start === null || started === null || Date.parse(started) >= Date.parse(start));
  const more = !!cursor && runs.length === held.current.runs.length; // otherwise all older ones are before the range

  const [loading, setLoading] = useState("");
  const [failure, setFailure] = useState<{ key: string; error: CallError } | null>(null);
  const error = failure?.key === key ? failure.error : null;
  const loadMore = async (): Promise<void> => {
    if (loading === key || !more) return;
    setLoading(key);
    setFailure(null);
    try {
      const next = await call<RunPage>("list_runs", { ...wanted, limit: matches ? SEARCH_PAGE_RUNS : PAGE_RUNS, cursor });
      // The list may have begun again meanwhile; then others lie between its entries and these.
      if (held.current.key === key && held.current.cursor === cursor) {
        held.current = { ...held.current, runs: distinct([...held.current.runs, ...next.runs]), cursor: next.next_cursor };
      }
    } catch (refused) {
      setFailure({ key, error: refused as CallError });
    }
    setLoading((current) => (current === key ? "" : current));
  };

  const hits = matches ? runs.filter(matches) : runs;
  const [step, setStep] = useState({ search: `${key} ${search}`, from: 0 });
  const from = step.search === `${key} ${search}` ? step.from : 0;
  const searching = matches !== null && error === null && more && hits.length < ENOUGH_HITS && runs.length - from < SEARCH_STEP;
  useEffect(() => {
    if (searching && loading !== key) void loadMore();
  });

  return {
    hits: cursor === undefined ? null : hits,
    loaded: runs,
    more,
    loading: loading === key || searching,
    stale: page.error,
    error,
    loadMore: () => {
      setStep({ search: `${key} ${search}`, from: runs.length });
      void loadMore();
    },
  };
}

/** The start of a range, rounded so that a range that follows the time is read again only every few minutes. */
const roundedDown = (time: string): string => new Date(Math.floor(Date.parse(time) / ROUNDING_MS) * ROUNDING_MS).toISOString();

/**
 * Adds a new first page. Entries that it moves down stay; those that it should contain and does not are removed. If it shares
 * none with the earlier entries, others may lie between them, and the list begins again.
 */
function withFirstPage(loaded: Loaded, page: RunPage): Loaded {
  const oldest = Date.parse(page.runs.at(-1)?.started ?? "");
  const known = new Set(loaded.runs.map(({ id }) => id));
  const beginsAgain = page.next_cursor === null || !page.runs.some(({ id }) => known.has(id));
  const older = beginsAgain ? [] : loaded.runs.filter(({ started }) => Date.parse(started ?? "") <= oldest);
  const isFirst = loaded.cursor === undefined || beginsAgain;
  return { key: loaded.key, runs: distinct([...page.runs, ...older]), cursor: isFirst ? page.next_cursor : loaded.cursor, page };
}

/** Runs without repetition; the first of two with the same id stays. */
const distinct = (runs: Run[]): Run[] => {
  const ids = new Set<string>();
  return runs.filter(({ id }) => !ids.has(id) && ids.add(id));
};
