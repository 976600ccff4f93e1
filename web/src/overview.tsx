// The list of tasks, one row each, after a summary of what needs attention.
import { ActionButton, type Asked, possibleActions } from "./actions";
import { isCancelled, number, timeUntil } from "./format";
import { useNow } from "./live";
import { Link, taskPath } from "./router";
import { cadence, freshness } from "./schedule";
import { Freshness, Next, RecordWords, Status, ViewerNote, useLastRuns } from "./status";
import { STRIP_RUNS, Strip } from "./strip";
import type { Task } from "./wire";
import { Name } from "./words";

interface Props {
  tasks: Task[];
  mayChange: boolean;
  ask: (asked: Asked) => void;
}

export function Overview({ tasks, mayChange, ask }: Props) {
  const now = useNow();
  return (
    <main id="main">
      <h1 tabIndex={-1}>Tasks</h1>
      <p class="lead">{inShort(tasks, now)}</p>
      {!mayChange && <ViewerNote />}
      <div class="tasks">
        <div class="row heads" aria-hidden="true">
          <span>Task</span>
          <span>Now</span>
          <span>Last good result</span>
          <span>Last {STRIP_RUNS} runs</span>
          <span>Success, duration</span>
          <span>Next run</span>
        </div>
        <ul>
          {tasks.map((task) => (
            <Row key={task.name} task={task} now={now} mayChange={mayChange} ask={ask} />
          ))}
        </ul>
      </div>
    </main>
  );
}

/** The state of all tasks in one sentence. */
function inShort(tasks: Task[], now: number): string {
  const having = (status: string): Task[] => tasks.filter((task) => task.status === status);
  const failed = having("failed").filter((task) => !isCancelled(task.error));
  const cancelled = having("failed").length - failed.length;
  const late = tasks.filter((task) => task.status !== "failed" && isLate(task, now));
  const parts = [
    failed.length > 0 && `${failed.map((task) => task.name).join(", ")} failed`,
    late.length > 0 && `${late.map((task) => task.name).join(", ")} late`,
    cancelled > 0 && `${number(cancelled)} cancelled`,
    having("running").length > 0 && `${number(having("running").length)} running`,
    having("suspended").length > 0 && `${number(having("suspended").length)} suspended`,
  ].filter((part) => part !== false);
  const next = tasks
    .filter((task) => task.next_run !== null && task.status !== "suspended")
    .toSorted((one, other) => Date.parse(one.next_run as string) - Date.parse(other.next_run as string))[0];
  if (failed.length === 0 && late.length === 0) parts.unshift("No failures");
  if (next) parts.push(`next run: ${next.name} ${timeUntil(next.next_run as string, now)}`);
  return `${parts.join("; ")}.`;
}

function isLate(task: Task, now: number): boolean {
  const completed = task.result?.completed;
  if (!completed) return false;
  const fresh = freshness(task, completed, now);
  return fresh.tone === "warn" || fresh.tone === "bad";
}

interface RowProps {
  task: Task;
  now: number;
  mayChange: boolean;
  ask: (asked: Asked) => void;
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
          {cadence(task.schedule)}
          {task.time_zone !== "Etc/UTC" && ` (${task.time_zone})`}
        </p>
      </div>
      <div class="now">
        <Status task={task} runs={runs ?? []} now={now} />
      </div>
      <div class="result">
        <Freshness task={task} now={now} />
      </div>
      <div class="history">{runs ? <Strip task={task.name} runs={runs} now={now} /> : <p class="strip empty quiet">…</p>}</div>
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
