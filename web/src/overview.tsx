// The list of tasks, one row each, after a summary of what needs attention.
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { ActionButton, type Ask, possibleActions } from "./actions";
import { FILTERS, ORDERS, arranged, hasFailed, isCancelled, isLate, needsAttention } from "./attention";
import { actorText, number, plural, timeUntil } from "./format";
import { useNow } from "./live";
import { Link, SearchField, goQuery, taskPath, useParam } from "./router";
import { scheduleText } from "./schedule";
import { Freshness, Next, RecordWords, Status, ViewerNote, useLastRuns } from "./status";
import { STRIP_RUNS, Strip } from "./strip";
import type { Task } from "./wire";
import { Name } from "./words";

interface Props {
  tasks: Task[];
  mayChange: boolean;
  ask: Ask;
}

export function Overview({ tasks, mayChange, ask }: Props) {
  const now = useNow();
  const [show, setShow] = useParam("show");
  const [search] = useParam("q");
  const [sort, setSort] = useParam("sort");
  const shown = arranged(tasks, now, { show, search, sort });
  const list = useRef<HTMLUListElement>(null);
  useFocusInside(list, shown.map(({ name }) => name).join());
  return (
    <main id="main">
      <h1 tabIndex={-1}>Tasks</h1>
      <p class="lead">{inShort(tasks, now)}</p>
      {!mayChange && <ViewerNote />}
      <div class="bar">
        <div class="filters" role="group" aria-label="Filter tasks">
          {FILTERS.map(({ name, value, holds }) => (
            <button key={value} aria-pressed={value === show} onClick={() => setShow(value)}>
              {name} <span class="quiet">{number(tasks.filter((task) => holds(task, now)).length)}</span>
            </button>
          ))}
        </div>
        <SearchField param="q" label="Search tasks" />
        <label class="inline">
          Sort by
          <select value={sort} onChange={(event) => setSort(event.currentTarget.value)}>
            {ORDERS.map(({ name, value }) => (
              <option key={value} value={value}>
                {name}
              </option>
            ))}
          </select>
        </label>
      </div>
      <p class="hidden" role="status">
        {shown.length < tasks.length && `${number(shown.length)} of ${plural(tasks.length, "task")}`}
      </p>
      <div class="tasks">
        <div class="row heads" aria-hidden="true">
          <span>Task</span>
          <span>Now</span>
          <span>Last good result</span>
          <span>Last {STRIP_RUNS} runs</span>
          <span>Success, duration</span>
          <span>Next run</span>
        </div>
        <ul ref={list}>
          {shown.map((task) => (
            <Row key={task.name} task={task} now={now} mayChange={mayChange} ask={ask} />
          ))}
        </ul>
        {shown.length === 0 && <NoHits search={search} all={tasks.length} />}
      </div>
    </main>
  );
}

function NoHits({ search, all }: { search: string; all: number }) {
  if (all === 0) return <p class="none quiet">There are no tasks that you may see.</p>;
  return (
    <p class="none">
      No task matches {search === "" ? "this filter" : <q>{search}</q>}.{" "}
      <button class="plain" onClick={() => goQuery({ q: "", show: "" })}>
        Show all {plural(all, "task")}
      </button>
    </p>
  );
}

/** Keeps the focus in a list although its order changes, which moves elements and so takes the focus from them. */
function useFocusInside(list: { current: HTMLElement | null }, order: string): void {
  const focused = useRef<Element | null>(null);
  useEffect(() => {
    const element = list.current as HTMLElement;
    const remember = (event: FocusEvent): void => void (focused.current = event.target as Element);
    const forget = (): void => void (focused.current = null); // a click that focuses an element of the list remembers it
    element.addEventListener("focusin", remember);
    addEventListener("pointerdown", forget);
    return () => {
      element.removeEventListener("focusin", remember);
      removeEventListener("pointerdown", forget);
    };
  }, []);
  useLayoutEffect(() => {
    const last = focused.current;
    if (document.activeElement === document.body && last instanceof HTMLElement && list.current?.contains(last)) last.focus();
  }, [order]);
}

/** The state of all tasks in one sentence. */
function inShort(tasks: Task[], now: number): string {
  const failed = tasks.filter(hasFailed);
  const late = tasks.filter((task) => !hasFailed(task) && isLate(task, now));
  const others = tasks.filter((task) => needsAttention(task, now) && !hasFailed(task) && !isLate(task, now));
  const count = (holds: (task: Task) => boolean): number => tasks.filter(holds).length;
  const counted = (holds: (task: Task) => boolean, text: string): string | false => count(holds) > 0 && `${number(count(holds))} ${text}`;
  const parts = [
    failed.length > 0 && `${names(failed)} failed`,
    late.length > 0 && `${names(late)} late`,
    others.length > 0 && `${names(others)} ${others.length === 1 ? "needs" : "need"} attention`,
    counted(isCancelled, "cancelled"),
    counted((task) => task.state === "running", "running"),
    counted((task) => task.status === "suspended", "suspended"),
  ].filter((part) => part !== false);
  const next = tasks
    .filter((task) => task.next_run !== null)
    .toSorted((one, other) => Date.parse(one.next_run as string) - Date.parse(other.next_run as string))[0];
  if (failed.length + late.length + others.length === 0) parts.unshift("No failures");
  if (next) parts.push(`next run: ${next.name} ${timeUntil(next.next_run as string, now)}`);
  return `${parts.join("; ")}.`;
}

const MAX_NAMES = 3;

/** The names of tasks, or their number if there are many. */
const names = (tasks: Task[]): string =>
  tasks.length > MAX_NAMES ? plural(tasks.length, "task") : tasks.map(({ name }) => name).join(", ");

interface RowProps {
  task: Task;
  now: number;
  mayChange: boolean;
  ask: Ask;
}

function Row({ task, now, mayChange, ask }: RowProps) {
  const runs = useLastRuns(task);
  return (
    <li class="row" data-task={task.name}>
      <div class="name">
        <h2>
          <Link to={taskPath(task.name)}>
            <Name of={task.name} />
          </Link>
        </h2>
        <p class="quiet">
          {scheduleText(task)}
        </p>
      </div>
      <div class="now">
        <Status task={task} runs={runs ?? []} now={now} mayChange={mayChange} ask={ask} />
        {task.requested && (
          <p class="detail">
            <bdi>Requested by {actorText(task.requested)}</bdi>
          </p>
        )}
      </div>
      <div class="result">
        <Freshness task={task} now={now} />
      </div>
      <div class="history">{runs ? <Strip task={task.name} runs={runs} now={now} /> : <p class="strip empty quiet" aria-busy="true">…</p>}</div>
      <div class="record">{runs && <RecordWords runs={runs} />}</div>
      <div class="next">
        <p>
          <Next task={task} now={now} />
        </p>
        <div class="acts">
          {possibleActions(task).map((kind, place) => (
            <ActionButton key={place} kind={kind} task={task} mayChange={mayChange} ask={ask} />
          ))}
        </div>
      </div>
    </li>
  );
}
