// The frame of all views: the signed-in user, whether the data is live, and the dialogs of actions.
import { useEffect, useRef, useState } from "preact/hooks";
import { ActionDialog, type Asked, type Outcome } from "./actions";
import { hasFailed } from "./attention";
import { type Person, type Project, call, endSession } from "./firebase";
import { age, clock } from "./format";
import { type Live, useLive, useModule, useNow } from "./live";
import { Overview } from "./overview";
import { NotFound } from "./not-found";
import { Link, type Place, usePlace } from "./router";
import { useTab } from "./tab";
import { TaskView } from "./task";
import { type Theme, applyTheme, theme } from "./theme";
import type { Task, TaskList } from "./wire";
import { Notice } from "./words";

const RUNNING_POLL_SECONDS = 1.5;
const IDLE_POLL_SECONDS = 5;

/** Whether a task works now. Nothing changes quickly while a long run waits for its next leg. */
const isWorking = (list: TaskList | null): boolean => list?.tasks.some(({ state, run }) => state === "running" && !run?.legs?.waiting_since) ?? false;

export function App({ project, person }: { project: Project; person: Person }) {
  const list = useLive<TaskList>(
    "tasks",
    (version) => call("list_tasks", { if_version: version }),
    (value) => (isWorking(value) ? RUNNING_POLL_SECONDS : IDLE_POLL_SECONDS),
  );
  const place = usePlace();
  const [asked, ask] = useState<Asked | null>(null);
  const tasks = list.value?.tasks ?? null;
  const [notice, setNotice] = useNotice(list.value);
  const task = tasks?.find(({ name }) => name === place.task);

  useArrival(place, tasks !== null);
  useTab(place.task ?? { tasks: "", timeline: "Timeline", task: "", unknown: "Not found" }[place.view], (tasks ?? []).filter(hasFailed).length);

  const open = (wanted: Asked): void => {
    setNotice(null);
    ask(wanted);
  };
  const done = (outcome: Outcome | null): void => {
    ask(null);
    if (outcome !== null) {
      setNotice(outcome);
      list.refresh();
    }
  };

  return (
    <>
      <a class="skip" href="#main">
        Skip to the content
      </a>
      <header class="top">
        <Link to="/" class="brand" current={place.view === "tasks"}>
          nx-tasks
        </Link>
        <Link to="/timeline" current={place.view === "timeline"}>
          Timeline
        </Link>
        <span class="quiet project">{project.id}</span>
        <Connection live={list} />
        <ThemeChoice />
        <User person={person} />
      </header>
      <Outage live={list} />
      <div class="outcome" role="status">
        {notice !== null && (
          <p>
            {notice.text}{" "}
            <button class="plain" onClick={() => setNotice(null)}>
              Dismiss
            </button>
          </p>
        )}
      </div>
      <div class={list.error && tasks ? "stale" : ""}>
        {tasks === null ? (
          <main id="main" aria-busy={list.error === null}>
            <p class="quiet">{list.error ? "No data yet." : "Loading tasks …"}</p>
          </main>
        ) : place.view === "tasks" ? (
          <Overview tasks={tasks} mayChange={person.mayChange} ask={open} />
        ) : place.view === "timeline" ? (
          <TimelineView tasks={tasks} place={place} />
        ) : task ? (
          <TaskView key={task.name} task={task} place={place} mayChange={person.mayChange} ask={open} />
        ) : (
          <NotFound task={place.task} />
        )}
      </div>
      {asked && <ActionDialog asked={asked} done={done} />}
    </>
  );
}

/** The heading is there at once, and the rest when it has loaded. */
function TimelineView({ tasks, place }: { tasks: Task[]; place: Place }) {
  const module = useModule(() => import("./timeline"));
  return (
    <main id="main">
      <h1 tabIndex={-1}>Timeline</h1>
      {module === null && <p class="quiet">The timeline could not be loaded. The page tries again automatically.</p>}
      {module && <module.Timeline tasks={tasks} place={place} />}
    </main>
  );
}

/** The outcome of the last action, until the task's state contradicts it, for example after a change in another tab. */
function useNotice(list: TaskList | null): [Outcome | null, (outcome: Outcome | null) => void] {
  const [notice, setNotice] = useState<Outcome | null>(null);
  const before = useRef<TaskList | null>(null);
  const show = (outcome: Outcome | null): void => {
    before.current = list; // older than the action
    setNotice(outcome);
  };
  useEffect(() => {
    const task = list?.tasks.find(({ name }) => name === notice?.task);
    if (notice !== null && task && list !== before.current && !notice.holds(task)) setNotice(null);
  }, [list, notice]);
  return [notice, show];
}

/** Announces a new view: focuses its heading. */
function useArrival({ view, task, part }: Place, shown: boolean): void {
  const arrived = useRef(false);
  useEffect(() => {
    if (!shown) return;
    if (arrived.current) document.querySelector<HTMLElement>("h1")?.focus();
    arrived.current = true;
  }, [view, task, part, shown]);
}

function Connection({ live }: { live: Live<TaskList> }) {
  const now = useNow();
  if (live.at === null) return <span class="connection quiet">{live.error ? "Not connected" : "Connecting …"}</span>;
  if (live.error) {
    return <span class="connection bad">Stale, {age((now - live.at) / 1000)} old</span>;
  }
  return (
    <span class="connection ok" title={`Confirmed by the service at ${clock(live.at, now, true)}`}>
      Live
    </span>
  );
}

/** Why the data is stale, since when, and when the page tries again. */
function Outage({ live }: { live: Live<TaskList> }) {
  const now = useNow();
  const { error } = live;
  if (!error) return null;
  const wait = Math.ceil(((live.again ?? 0) - Date.now()) / 1000);
  return (
    <div class="outage">
      <Notice tone="bad">
        <b>{error.message}</b>{" "}
        {live.at !== null && `Showing data from ${clock(live.at, now, true)}, which may be out of date. `}
        {error.code === "permission-denied" && "Then sign out and in again. "}
        <span aria-hidden="true">{wait > 0 ? `Next try in ${wait} s. ` : "Trying again … "}</span>
        <button onClick={live.refresh}>Try now</button>
      </Notice>
    </div>
  );
}

const THEMES: Theme[] = ["system", "light", "dark"];

function ThemeChoice() {
  const [chosen, choose] = useState(theme);
  const pick = (event: { currentTarget: HTMLSelectElement }): void => {
    const wanted = event.currentTarget.value as Theme;
    applyTheme(wanted);
    choose(wanted);
  };
  return (
    <label class="theme">
      <span class="hidden">Theme</span>
      <select value={chosen} onChange={pick}>
        {THEMES.map((each) => (
          <option key={each} value={each}>
            Theme: {each}
          </option>
        ))}
      </select>
    </label>
  );
}

function User({ person }: { person: Person }) {
  return (
    <span class="who">
      <span>
        {person.email} <span class="quiet">{person.role ?? "no role"}</span>
      </span>
      <button class="plain" onClick={() => void endSession()}>
        Sign out
      </button>
    </span>
  );
}
