// What all tasks did, over time: one row per task, a bar per run, marks for skips, missed ticks and changes, and the
// ticks to come. Loaded when it is first shown.
import "./timeline.css";
import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import { VIEWER_ZONE, clock, number, plural } from "../format";
import { serverNow, useLive, useNow } from "../live";
import { Link, type Place, goQuery, taskPath } from "../router";
import { onColours } from "../theme";
import type { Task } from "../wire";
import { Name, Notice } from "../words";
import { type Entry, TimelineHistory, fires } from "./data";
import { type Lane, type MarkShape, paintBar, paintMark, palette, penOf, shapeOf } from "./paint";
import { Plot } from "./plot";
import { PAST, PRESETS, type Range, moved, presetQuery, rangeKey, rangeQuery, timelineRangeOf, within, zoomed } from "./range";
import { View } from "./view";
import { Table } from "./words";

const POLL_SECONDS = 10;
/** Part of the range that is read beyond each end, for the next movement. */
const BEYOND = 0.25;

const show = (wanted: Range): void => goQuery(rangeQuery(within(wanted, serverNow())), true);

export function Timeline({ tasks, place }: { tasks: Task[]; place: Place }) {
  const now = useNow();
  const range = timelineRangeOf(place.query, now);
  const [, redraw] = useReducer((count: number, _: void) => count + 1, 0);
  const [history] = useState(() => new TimelineHistory(() => redraw()));
  useEffect(() => () => history.stop(), []);
  history.want(zoomed(range, 1 + 2 * BEYOND, middle(range)));
  const [view] = useState(() => new View(range, show));
  view.follow(range, rangeKey(place.query));
  useEffect(() => {
    addEventListener("click", view.settle, true); // so that buttons act on what is shown, and back leads to it
    return () => {
      removeEventListener("click", view.settle, true);
      view.stop();
    };
  }, []);
  const changes = tasks.map((task) => [task.state, task.started, task.completed, task.suspended?.at].join()).join();
  const live = useLive("timeline", () => history.update(), () => POLL_SECONDS, `${changes} ${history.isMissing}`);
  const [isTable, showTable] = useState(false);
  const lanes = tasks.map((task) => laneOf(task, history, now));
  const entries = lanes.flatMap(({ row }) => row.within(range, now));
  return (
    <div class="timeline" aria-busy={history.isMissing && live.error === null}>
      <p class="lead">
        {clock(range.from, now)} to {clock(range.to, now)}, {VIEWER_ZONE}{history.isMissing ? "." : `: ${inShort(entries)}`}
      </p>
      <div class="bar">
        <div class="filters" role="group" aria-label="Time range">
          {PRESETS.map(([name, label]) => (
            <button key={name} aria-pressed={name === range.preset} onClick={() => goQuery(presetQuery(name))}>
              {label}
            </button>
          ))}
        </div>
        <div class="filters" role="group" aria-label="Move and zoom">
          <button onClick={() => show(moved(view.range, -0.5))}>Earlier</button>
          <button onClick={() => show(moved(view.range, 0.5))}>Later</button>
          <button onClick={() => show(zoomed(view.range, 0.5, middle(view.range)))}>Zoom in</button>
          <button onClick={() => show(zoomed(view.range, 2, middle(view.range)))}>Zoom out</button>
        </div>
        <p class="quiet" role="status">
          {history.loading && history.isMissing ? "Loading runs …" : ""}
        </p>
      </div>
      {Date.parse(place.query.get("from") ?? "") < now - PAST - POLL_SECONDS * 1000 && (
        <Notice tone="info">The timeline goes back 7 days. Earlier runs are in the history of each task.</Notice>
      )}
      {live.error && <Notice tone="warn">The timeline may be out of date: {live.error.message}</Notice>}
      <div class="drawn">
        <ul class="names">
          {tasks.map((task) => (
            <li key={task.name}>
              <Link to={taskPath(task.name)}>
                <Name of={task.name} />
              </Link>
              {task.suspended && <span class="quiet"> suspended</span>}
            </li>
          ))}
        </ul>
        <Plot lanes={lanes} view={view} now={now} hasRead={(part) => history.hasRead(part)} />
      </div>
      <Legend />
      <p id="timeline-help" class="quiet">
        Drag or swipe to move; pinch, or turn the wheel with Ctrl, to zoom. Keys: arrows select an entry, Enter opens it, + and − zoom, Shift with an arrow
        moves.
      </p>
      <details class="table" open={isTable} onToggle={(event) => showTable(event.currentTarget.open)}>
        <summary>The same as a table</summary>
        {isTable && <Table lanes={lanes} range={range} now={now} />}
      </details>
    </div>
  );
}

const middle = ({ from, to }: Range): number => (from + to) / 2;

function laneOf(task: Task, history: TimelineHistory, now: number): Lane {
  const until = task.suspended?.until;
  const suspended = task.suspended && { from: Date.parse(task.suspended.at), to: until ? Math.max(now, Date.parse(until)) : Infinity };
  return { row: history.row(task.name), fires: (tick) => fires(task, tick), suspended };
}

/** The number of runs, and of those that did not complete. */
function inShort(entries: Entry[]): string {
  const count = (holds: (entry: Entry) => boolean): number => entries.filter(holds).length;
  const parts: [number, string][] = [
    [count(({ run }) => run.outcome === "failed"), "failed"],
    [count(({ run }) => run.outcome === "cancelled"), "cancelled"],
    [count(({ run }) => run.outcome === "running"), "running"],
    [count(({ run }) => run.state === "skipped"), "skipped"],
    [count(({ run }) => run.state === "missed_tick"), "missed"],
  ];
  const some = parts.filter(([all]) => all > 0).map(([all, word]) => `${number(all)} ${word}`);
  return `${[plural(count(({ isRun }) => isRun), "run"), ...some].join(", ")}.`;
}

const SHAPES: [shape: string, words: string][] = [
  ["completed", "completed"],
  ["failed", "failed"],
  ["cancelled", "cancelled"],
  ["running", "running"],
  ["skipped", "skipped"],
  ["missed_tick", "missed, refused or another incident"],
  ["suspended", "change by an operator"],
  ["tick", "tick to come"],
];

function Legend() {
  return (
    <ul class="legend" aria-label="Legend">
      {SHAPES.map(([shape, words]) => (
        <li key={shape}>
          <Sample shape={shape} /> {words}
        </li>
      ))}
    </ul>
  );
}

const [SAMPLE_WIDTH, SAMPLE_HEIGHT] = [18, 24];

/** One shape, drawn as the plot draws it. */
function Sample({ shape }: { shape: string }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const draw = (): void => {
      const colours = palette();
      const pen = penOf(canvas.current as HTMLCanvasElement, SAMPLE_WIDTH, SAMPLE_HEIGHT);
      if (shape === "tick") {
        pen.fillStyle = colours["ink-2"];
        pen.fillRect(SAMPLE_WIDTH / 2, 9, 1, 9);
      } else if (["completed", "failed", "cancelled", "running"].includes(shape)) {
        paintBar(pen, shape, 2, SAMPLE_WIDTH - 4, { top: 4, bar: 14 }, colours);
      } else paintMark(pen, shapeOf(shape) satisfies MarkShape, SAMPLE_WIDTH / 2, SAMPLE_HEIGHT / 2, colours);
    };
    draw();
    return onColours(draw);
  }, [shape]);
  return <canvas ref={canvas} aria-hidden="true" />;
}
