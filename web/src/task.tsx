// One task: its present state, its history with charts, and its result.
import { ActionButton, type Ask, possibleActions } from "./actions";
import { call } from "./firebase";
import { PLACES, duration, size, trigger } from "./format";
import { History } from "./history";
import { useLive, useModule, useNow } from "./live";
import { Link, type Place, goQuery, taskPath } from "./router";
import { RunPanel } from "./runs";
import { scheduleText, zoneName } from "./schedule";
import { recordOf } from "./stats";
import { Freshness, Next, Status, ViewerNote, useLastRuns } from "./status";
import { Strip } from "./strip";
import type { Run, RunPage, Task } from "./wire";
import { Facts, Name, Time } from "./words";

interface Props {
  task: Task;
  place: Place;
  mayChange: boolean;
  ask: Ask;
}

export function TaskView({ task, place, mayChange, ask }: Props) {
  const runs = useLastRuns(task);
  return (
    <main id="main" class="task" data-task={task.name}>
      <p class="back">
        <Link to="/">All tasks</Link>
      </p>
      <div class="title">
        <h1 tabIndex={-1}>
          <Name of={task.name} />
        </h1>
        <div class="acts">
          {possibleActions(task).map((kind, place) => (
            <ActionButton key={place} kind={kind} task={task} mayChange={mayChange} ask={ask} />
          ))}
        </div>
      </div>
      {!mayChange && <ViewerNote />}
      <Glance task={task} runs={runs} mayChange={mayChange} ask={ask} />
      <nav class="tabs" aria-label={`Parts of ${task.name}`}>
        <Link to={taskPath(task.name)} current={place.part === "runs"}>
          Runs
        </Link>
        <Link to={taskPath(task.name, "result")} current={place.part === "result"}>
          Result{task.result?.size_bytes ? ` (${size(task.result.size_bytes)})` : ""}
        </Link>
      </nav>
      {place.part === "result" ? <ResultPart task={task} /> : <RunsPart task={task} runs={runs} run={place.run} />}
    </main>
  );
}

interface GlanceProps {
  task: Task;
  runs: Run[] | null;
  mayChange: boolean;
  ask: Ask;
}

/** The task's present state, updated each second. */
function Glance({ task, runs, mayChange, ask }: GlanceProps) {
  const now = useNow();
  const tick = runs?.find((run) => run.started === task.started)?.scheduled_for;
  return (
    <div class="glance">
      <section aria-label="Now">
        <h2>Now</h2>
        <Status task={task} runs={runs ?? []} now={now} positions mayChange={mayChange} ask={ask} />
        {task.started && (
          <p class="quiet">
            Started <Time at={task.started} now={now} seconds />. <bdi>{trigger(task.source, tick, task.requested)}</bdi>
          </p>
        )}
      </section>
      <section aria-label="Last good result">
        <h2>Last good result</h2>
        <Freshness task={task} now={now} />
        {task.result?.completed && task.save_in !== "none" && (
          <p class="quiet">
            Completed <Time at={task.result.completed} now={now} seconds />, stored {PLACES[task.result.saved_in ?? ""] ?? task.result.saved_in}
          </p>
        )}
      </section>
      <section aria-label="Schedule">
        <h2>Schedule</h2>
        <p>
          {scheduleText(task)}, <span class="quiet">deadline {duration(task.deadline_seconds)}</span>
        </p>
        <p>
          <span class="quiet">Next:</span> <Next task={task} now={now} />
        </p>
        <p class="quiet">
          <code>{task.schedule ?? "none"}</code> in {zoneName(task.time_zone)}
        </p>
      </section>
      <section aria-label="Last runs">
        <h2>Last 50 runs</h2>
        {runs ? <Strip task={task.name} runs={runs} now={now} /> : <p class="strip empty quiet" aria-busy="true">…</p>}
      </section>
    </div>
  );
}

function RunsPart({ task, runs, run }: { task: Task; runs: Run[] | null; run: string | null }) {
  return (
    <>
      {run !== null && <RunPanel key={run} task={task} id={run} close={() => goQuery({ run: "" })} />}
      <Charts task={task} usual={runs && recordOf(runs).usual} />
      <History task={task} />
    </>
  );
}

const CHARTED_RUNS = 200;

/** @param usual Usual duration of a run, seconds. */
function Charts({ task, usual }: { task: Task; usual: number | null }) {
  const module = useModule(() => import("./charts"));
  const load = (version: string | null) =>
    call<RunPage>("list_runs", { task_name: task.name, limit: CHARTED_RUNS, states: ["completed", "failed"], if_version: version });
  const { value } = useLive(`charts ${task.name}`, load, () => 120, `${task.completed} ${task.state}`);
  if (module === null) return <p class="quiet">The charts could not be loaded. The page tries again automatically.</p>;
  return module && value ? <module.Charts runs={value.runs} usual={usual} /> : <div class="charts empty" />;
}

function ResultPart({ task }: { task: Task }) {
  const module = useModule(() => import("./result"));
  const summary = task.result?.summary ?? null;
  const summaryPart = summary !== null && (
    <section class="summary" aria-labelledby="summary-title">
      <h2 id="summary-title">Summary</h2>
      <Facts value={summary} folded={task.save_in !== "none"} />
    </section>
  );
  return (
    <>
      {!task.readable ? (
        <p class="quiet">You do not have access to this result. Ask an administrator of the project.</p>
      ) : task.save_in === "none" ? (
        <>
          {summaryPart}
          <p class="quiet">No result kept. The history shows what the task did.</p>
        </>
      ) : module === null ? (
        <p class="quiet">The result view could not be loaded. The page tries again automatically.</p>
      ) : (
        module && <module.ResultView task={task} summary={summaryPart} />
      )}
    </>
  );
}
