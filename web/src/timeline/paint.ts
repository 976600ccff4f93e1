// Draws the timeline on canvases. Each outcome has its colour and its shape, and so has each mark. Bars that share
// pixels are drawn as one, so that the effort depends on the width of the screen and not on the number of runs.
import { colour } from "../theme";
import type { Entry, Row } from "./data";
import { type Range, axisMarks } from "./range";

const COLOURS = ["sheet", "raised", "line", "edge", "ink", "ink-2", "ok", "ok-quiet", "bad", "run", "warn", "off", "idle", "cancel"] as const;
export type Palette = Record<(typeof COLOURS)[number], string>;
export const palette = (): Palette => Object.fromEntries(COLOURS.map((name) => [name, colour(name)])) as Palette;

/** Sizes in pixels. */
export interface Layout {
  width: number;
  /** Height of a row, and in it the bars and the middle of the marks. */
  row: number;
  top: number;
  bar: number;
  marks: number;
  /** Font of the axis. */
  font: string;
  /** Smallest distance between two labels of the axis. */
  label: number;
}

/** Smallest width of a bar. */
const MIN_WIDTH = 3;
/** How far a failed run exceeds other bars above, and its foot below. */
const OVER = 3;
const MARK = 4;

export type MarkShape = "skip" | "incident" | "change";

/** The shape of a mark: for skips, for operators' changes, and for what a person should look at. */
export function shapeOf(state: string): MarkShape {
  if (state === "skipped") return "skip";
  return state === "suspended" || state === "resumed" || state === "cancelling" || state === "requested" ? "change" : "incident";
}

export const xOf = ({ from, to }: Range, width: number, time: number): number => ((time - from) / (to - from)) * width;

/** The left edge and the width of a run's bar, in pixels. */
export function barOf(entry: Entry, view: Range, width: number, now: number): [left: number, width: number] {
  const left = xOf(view, width, entry.from);
  return [left, Math.max(MIN_WIDTH, xOf(view, width, entry.to ?? now) - left)];
}

/** Prepares a canvas for drawing in CSS pixels. */
export function penOf(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
  const [wide, high] = [Math.round(width * devicePixelRatio), Math.round(height * devicePixelRatio)];
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
  }
  const pen = canvas.getContext("2d") as CanvasRenderingContext2D;
  pen.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

export interface Lane {
  row: Row;
  /** Whether a tick will be delivered. */
  fires: (tick: number) => boolean;
  /** While the task is suspended: since when, and until when if it is known. */
  suspended: Range | null;
}

export function paintLanes(canvas: HTMLCanvasElement, lanes: Lane[], view: Range, now: number, layout: Layout, colours: Palette, active: Entry | null): void {
  const { width, row: height, label } = layout;
  const pen = penOf(canvas, width, height * lanes.length);
  const x = (time: number): number => xOf(view, width, time);
  const present = x(now);
  pen.fillStyle = colours.raised;
  pen.globalAlpha = 0.5;
  if (present < width) pen.fillRect(Math.max(0, present), 0, width, height * lanes.length);
  pen.globalAlpha = 1;
  pen.fillStyle = colours.line;
  for (const { at } of axisMarks(view, ((view.to - view.from) * label) / width)) pen.fillRect(Math.round(x(at)), 0, 1, height * lanes.length);
  lanes.forEach((lane, index) => {
    pen.save();
    pen.translate(0, Math.round(index * height));
    paintLane(pen, lane, view, now, layout, colours);
    if (active?.task === lane.row.task) paintActive(pen, active, view, now, layout, colours);
    pen.restore();
  });
  pen.fillStyle = colours.ink;
  pen.fillRect(Math.round(present) - 1, 0, 2, height * lanes.length);
}

function paintLane(pen: CanvasRenderingContext2D, { row, fires, suspended }: Lane, view: Range, now: number, layout: Layout, colours: Palette): void {
  const { width, row: height, top, bar } = layout;
  pen.fillStyle = colours.line;
  pen.fillRect(0, Math.round(height) - 1, width, 1);
  if (suspended) {
    pen.fillStyle = colours.off;
    pen.globalAlpha = 0.14;
    const [left, right] = [Math.max(0, xOf(view, width, suspended.from)), Math.min(width, xOf(view, width, suspended.to))];
    if (right > left) pen.fillRect(left, 1, right - left, height - 3);
    pen.globalAlpha = 1;
  }
  pen.fillStyle = colours.edge;
  pen.fillRect(0, top + bar, width, 1);
  paintTicks(pen, row.ticks.filter((tick) => tick > now && tick >= view.from && tick <= view.to && fires(tick)), view, layout, colours);
  const found = row.within(view, now);
  for (const outcome of ["completed", "running", "cancelled", "failed"]) {
    let [from, to] = [-Infinity, -Infinity];
    for (const entry of found) {
      if (entry.run.outcome !== outcome) continue;
      const [left, wide] = barOf(entry, view, width, now);
      if (left > to + 0.5) {
        if (to > from) paintBar(pen, outcome, from, to - from, layout, colours);
        [from, to] = [left, left + wide];
      } else to = Math.max(to, left + wide);
    }
    if (to > from) paintBar(pen, outcome, from, to - from, layout, colours);
  }
  for (const shape of ["skip", "change", "incident"] as const) {
    let last = -Infinity;
    for (const entry of found) {
      if (entry.isRun || shapeOf(entry.run.state) !== shape) continue;
      const at = xOf(view, width, entry.from);
      if (at < last + 2) continue;
      paintMark(pen, shape, at, layout.marks, colours);
      last = at;
    }
  }
}

function paintTicks(pen: CanvasRenderingContext2D, ticks: number[], view: Range, { width, top, bar }: Layout, colours: Palette): void {
  pen.fillStyle = colours["ink-2"];
  let last = -Infinity;
  for (const tick of ticks) {
    const at = Math.round(xOf(view, width, tick));
    if (at < last + 2) continue;
    pen.fillRect(at, top + bar / 2, 1, bar / 2);
    last = at;
  }
}

/** A completed run is filled, a failed one higher and with a foot, a cancelled one hollow, a running one striped. */
export function paintBar(pen: CanvasRenderingContext2D, outcome: string, left: number, width: number, { top, bar }: Pick<Layout, "top" | "bar">, colours: Palette): void {
  switch (outcome) {
    case "completed":
      pen.fillStyle = colours["ok-quiet"];
      pen.fillRect(left, top, width, bar);
      pen.fillStyle = colours.ok;
      pen.fillRect(left, top + bar - 2, width, 2);
      break;
    case "failed":
      pen.fillStyle = colours.bad;
      pen.fillRect(left, top - OVER, width, bar + OVER);
      pen.fillRect(left, top + bar + 2, width, 3);
      break;
    case "cancelled":
      pen.fillStyle = colours.sheet;
      pen.fillRect(left, top, width, bar);
      pen.fillStyle = colours.cancel;
      for (const [x, y, wide, high] of [[0, 0, width, 4], [0, bar - 4, width, 4], [0, 0, 1.5, bar], [width - 1.5, 0, 1.5, bar]] as const) {
        if (high < bar || width > 2 * MIN_WIDTH) pen.fillRect(left + x, top + y, wide, high); // a narrow bar has no sides, so that it is hollow, too
      }
      break;
    default:
      pen.fillStyle = colours.run;
      for (let y = 0; y < bar; y += 5) pen.fillRect(left, top + y, width, 3);
  }
}

/** A skip is a ring, an operator's change two strokes, an incident a triangle. */
export function paintMark(pen: CanvasRenderingContext2D, shape: MarkShape, x: number, y: number, colours: Palette): void {
  pen.beginPath();
  if (shape === "skip") {
    pen.strokeStyle = colours.idle;
    pen.lineWidth = 1.5;
    pen.arc(x, y, MARK - 1, 0, 2 * Math.PI);
    pen.stroke();
  } else if (shape === "change") {
    pen.fillStyle = colours.off;
    pen.fillRect(x - 3, y - MARK, 2, 2 * MARK);
    pen.fillRect(x + 1, y - MARK, 2, 2 * MARK);
  } else {
    pen.fillStyle = colours.warn;
    pen.moveTo(x, y - MARK);
    pen.lineTo(x + MARK, y + MARK);
    pen.lineTo(x - MARK, y + MARK);
    pen.fill();
  }
}

/** Outlines the entry that is selected. */
function paintActive(pen: CanvasRenderingContext2D, entry: Entry, view: Range, now: number, { width, top, bar, marks }: Layout, colours: Palette): void {
  pen.strokeStyle = colours.ink;
  pen.lineWidth = 2;
  if (entry.isRun) {
    const [left, wide] = barOf(entry, view, width, now);
    pen.strokeRect(left - 2, top - OVER - 1, wide + 4, bar + OVER + 3);
  } else {
    const at = xOf(view, width, entry.from);
    pen.strokeRect(at - MARK - 3, marks - MARK - 3, 2 * MARK + 6, 2 * MARK + 6);
  }
}

export function paintAxis(canvas: HTMLCanvasElement, height: number, view: Range, now: number, { width, font, label }: Layout, colours: Palette): void {
  const pen = penOf(canvas, width, height);
  const x = (time: number): number => xOf(view, width, time);
  pen.fillStyle = colours.sheet;
  pen.fillRect(0, 0, width, height);
  pen.font = font;
  pen.textBaseline = "middle";
  pen.textAlign = "center";
  const word = "now";
  const half = pen.measureText(word).width / 2 + 5;
  const present = Math.min(width - half, Math.max(half, x(now)));
  const isShown = now >= view.from && now <= view.to;
  let free = 0;
  for (const { at, label: text, day } of axisMarks(view, ((view.to - view.from) * label) / width)) {
    const reach = pen.measureText(text).width / 2 + 3;
    const middle = Math.round(x(at));
    pen.fillStyle = colours.edge;
    pen.fillRect(middle, height - 5, 1, 5);
    if (middle - reach < free || middle + reach > width || (isShown && Math.abs(middle - present) < reach + half)) continue;
    pen.fillStyle = day ? colours.ink : colours["ink-2"];
    pen.fillText(text, middle, height / 2 - 1);
    free = middle + reach;
  }
  if (isShown) {
    pen.fillStyle = colours.ink;
    pen.fillRect(present - half, 2, 2 * half, height - 8);
    pen.fillRect(Math.round(x(now)) - 1, height - 7, 2, 7);
    pen.fillStyle = colours.sheet;
    pen.fillText(word, present, height / 2 - 1);
  }
}
