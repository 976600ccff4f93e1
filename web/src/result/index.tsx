// A task's result: search, order, single records, download. Fetched when the tab is opened.
import "./result.css";
import type { ComponentChildren } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { CallError, call } from "../firebase";
import { duration, number, percent, plural } from "../format";
import { goQuery, useParam, useTypedParam } from "../router";
import type { Json, Task, TaskData } from "../wire";
import { Notice } from "../words";
import { Download } from "./download";
import { Grid, type Order } from "./grid";
import { type Column, TextIndex, breakdownOf, columnsOf, inOrder, ordered, spotsOf, valueOf } from "./records";
import { Scatter } from "./scatter";
import { Tree } from "./tree";

const FETCH_SECONDS = 120;

interface Props {
  task: Task;
  /** The summary that the run published with its result. */
  summary: ComponentChildren;
}

export function ResultView({ task, summary }: Props) {
  const [result, setResult] = useState<TaskData | null>(null);
  const [error, setError] = useState<CallError | null>(null);
  const [asked, askAgain] = useState(0);
  useEffect(() => {
    let gone = false;
    setError(null);
    call<TaskData>("get_task_data", { task_name: task.name, if_version: null }, FETCH_SECONDS).then(
      (fetched) => !gone && setResult(fetched),
      (refused: CallError) => !gone && setError(refused),
    );
    return () => void (gone = true);
  }, [asked]);
  const newer = result !== null && task.result !== null && task.result.version !== result.version;
  return (
    <section class="records" aria-labelledby="result-title" data-version={result?.version ?? (error ? "" : undefined)}>
      {error && <Unread task={task.name} error={error} again={() => askAgain(asked + 1)} />}
      {result === null && !error && <p class="quiet">Loading the result …</p>}
      {result?.stale && <Notice tone="warn">The service could not verify that this is the latest result.</Notice>}
      {newer && (
        <p role="status">
          A newer result is available. <button onClick={() => askAgain(asked + 1)}>Show it</button>
        </p>
      )}
      {result && Array.isArray(result.data) ? (
        <Records key={result.version} task={task.name} records={result.data} summary={summary} />
      ) : (
        <>
          {summary}
          {result && <Whole task={task.name} value={result.data} />}
        </>
      )}
    </section>
  );
}

function Unread({ task, error, again }: { task: string; error: CallError; again: () => void }) {
  const url = error.details["url"];
  if (typeof url === "string") {
    return (
      <Notice tone="info">
        This result is too large to show here.{" "}
        <a href={url} target="_blank" rel="noreferrer">
          Download it from Storage
        </a>{" "}
        as JSON within {duration(Number(error.details["expires_in_seconds"]))}, or <button onClick={again}>get a new link</button>. Other formats are
        downloaded here:
        <Download task={task} url={url} />
      </Notice>
    );
  }
  return (
    <Notice tone="bad">
      The result could not be read: {error.message} <button onClick={again}>Try again</button>
      {error.code === "undecodable" && <Download task={task} />}
    </Notice>
  );
}

interface BarProps {
  task: string;
  value: Json;
  search: string;
  onSearch: (text: string) => void;
  count: string;
}

function Bar({ task, value, search, onSearch, count }: BarProps) {
  return (
    <div class="bar">
      <h2 id="result-title">Result</h2>
      <label class="search">
        <span class="hidden">Search the result</span>
        <input type="search" placeholder={Array.isArray(value) ? 'Words, or "a phrase"' : "Search all fields"} value={search} onInput={(event) => onSearch(event.currentTarget.value)} />
      </label>
      <p role="status" class="quiet">
        {count}
      </p>
      <Download task={task} />
    </div>
  );
}

function Whole({ task, value }: { task: string; value: Json }) {
  const [search, setSearch] = useTypedParam("q");
  return (
    <>
      <Bar task={task} value={value} search={search} onSearch={setSearch} count="" />
      <Tree id="whole" label={`Result of ${task}`} value={value} search={search} none={<NoHits of="field" search={search} clear={() => setSearch("")} />} />
    </>
  );
}

interface NoHitsProps {
  of: "record" | "field";
  search: string;
  /** What the records were filtered by besides. */
  filter?: string | null;
  clear: () => void;
}

/** In the place of the rows: what was searched without a hit. */
function NoHits({ of, search, filter, clear }: NoHitsProps) {
  return (
    <p class="nohits">
      No {of} {filter && `with ${filter} `}contains “<bdi>{search.trim()}</bdi>”. <button onClick={clear}>{filter ? "Clear search and filter" : "Clear the search"}</button>
    </p>
  );
}

interface RecordsProps {
  task: string;
  records: Json[];
  summary: ComponentChildren;
}

function Records({ task, records, summary }: RecordsProps) {
  const [search, setSearch] = useTypedParam("q");
  const [only, setKind] = useParam("only");
  const kind = only === "" ? null : only;
  const [opened, setOpened] = useState<number | null>(null);
  const found = useSearch(records, search);
  const columns = useMemo(() => columnsOf(records), [records]);
  const [order, setOrder] = useOrder(columns);
  const spots = useMemo(() => spotsOf(records), [records]);
  const breakdown = useMemo(() => breakdownOf(records), [records]);
  const indices = useMemo(() => {
    let chosen = found?.indices ?? records.map((_, index) => index);
    if (kind !== null && breakdown) chosen = chosen.filter((index) => valueOf(records[index], breakdown.field) === kind);
    return order ? ordered(records, chosen, order.field, order.descending) : chosen;
  }, [records, found, kind, order]);
  const chosen = useMemo(() => (indices.length === records.length ? null : new Set(indices)), [indices]);
  const clear = (): void => {
    setSearch("");
    setKind("");
  };
  if (records.length === 0) {
    return (
      <div class="bar">
        <p class="quiet">The result has no records.</p>
        <Download task={task} />
      </div>
    );
  }
  const count = chosen === null ? plural(records.length, "record") : `${number(indices.length)} of ${plural(records.length, "record")}`;
  return (
    <>
      <div class={spots.length > 0 ? "over both" : "over"}>
        {summary}
        {spots.length > 0 && <Scatter records={records} spots={spots} chosen={chosen} onOpen={setOpened} />}
      </div>
      {breakdown && <Breakdown {...breakdown} total={records.length} chosen={kind} choose={(wanted) => setKind(wanted ?? "")} />}
      <Bar task={task} value={records} search={search} onSearch={setSearch} count={count} />
      <div class={opened === null ? "beside" : "beside both"}>
        <div>
          <Grid
            label={`Records of ${task}`}
            records={records}
            columns={columns}
            indices={indices}
            order={order}
            onOrder={setOrder}
            opened={opened}
            onOpen={setOpened}
          />
          {indices.length === 0 && <NoHits of="record" search={found?.words ?? ""} filter={kind !== null && breakdown ? `${breakdown.field} ${kind}` : null} clear={clear} />}
        </div>
        {opened !== null && (
          <aside aria-label={`Record ${opened + 1}`}>
            <div class="bar">
              <h3>Record {number(opened + 1)}</h3>
              <button class="plain" onClick={() => setOpened(null)}>
                Close
              </button>
            </div>
            <Tree key={opened} id="record-tree" label={`Fields of record ${opened + 1}`} value={inOrder(records[opened] as Json, columns)} />
          </aside>
        )}
      </div>
    </>
  );
}

/** Name of the column of records that are not maps, in the address. */
const VALUE = "value";

/** The sort order, which the address holds. */
function useOrder(columns: Column[]): [Order | null, (order: Order | null) => void] {
  const [sort] = useParam("sort");
  const [down] = useParam("down");
  const order = useMemo(() => {
    if (sort === "") return null;
    return { field: columns.some(({ field }) => field === null) ? null : sort, descending: down !== "" };
  }, [columns, sort, down]);
  return [order, (wanted) => goQuery({ sort: wanted ? (wanted.field ?? VALUE) : "", down: wanted?.descending ? "1" : "" })];
}

interface Found {
  words: string;
  /** The matching records. */
  indices: number[];
}

/** The outcome of the last finished search; null without a search. */
function useSearch(records: Json[], words: string): Found | null {
  const index = useMemo(() => new TextIndex(records), [records]);
  const [found, setFound] = useState<Found | null>(null);
  const wanted = useRef(words);
  wanted.current = words;
  useEffect(() => {
    if (words.trim() === "") return setFound(null);
    void index.find(words, () => wanted.current !== words).then((indices) => indices && setFound({ words, indices }));
  }, [index, words]);
  return found;
}

const KIND_TONES: Record<string, string> = { good: "ok", degraded: "warn", unhealthy: "bad", offline: "idle" };

interface BreakdownProps {
  field: string;
  counts: [kind: string, count: number][];
  total: number;
  chosen: string | null;
  choose: (kind: string | null) => void;
}

/** Number of records per value of a field; a click filters the table by that value. */
function Breakdown({ field, counts, total, chosen, choose }: BreakdownProps) {
  return (
    <section class="breakdown" aria-label={`By ${field}`}>
      <div class="share" aria-hidden="true">
        {counts.map(([kind, count]) => (
          <b key={kind} class={KIND_TONES[kind] ?? "run"} style={{ flexGrow: String(count) }} />
        ))}
      </div>
      <div class="filters" role="group" aria-label={`Only records whose ${field} is`}>
        {counts.map(([kind, count]) => (
          <button key={kind} class={KIND_TONES[kind] ?? "run"} aria-pressed={chosen === kind} onClick={() => choose(chosen === kind ? null : kind)}>
            <span class="mark" aria-hidden="true" />
            {kind} <b>{number(count)}</b> <span class="quiet">{percent(count / total)}</span>
          </button>
        ))}
      </div>
    </section>
  );
}
