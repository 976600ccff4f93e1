// The drawn part of the timeline. Drag, wheel, pinch and keys move and zoom it; pointer and arrow keys select an entry,
// a click or Enter opens it. Moving draws on the canvas at once; the address follows when it has stopped.
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { plural } from "../format";
import { go, runPath } from "../router";
import { onColours } from "../theme";
import type { Entry } from "./data";
import { type Lane, type Layout, type Palette, barOf, paintAxis, paintLanes, palette, xOf } from "./paint";
import { type Range, moved, within, zoomed } from "./range";
import type { View } from "./view";
import { EntryHint, entryText } from "./words";

/** Pixels around an entry within which the pointer selects it. */
const REACH = 6;
/** Pixels that the pointer moves before a click becomes a drag. */
const SLACK = 4;
const ZOOM = 1.5;
const SHARE = 0.25;
/** Factor of the zoom per pixel of the wheel. */
const WHEEL = 1.0015;
const SEVERITY = ["completed", "skipped", "running", "cancelled", "failed"];

interface Props {
  lanes: Lane[];
  view: View;
  now: number;
  /** Returns whether everything in a range has been read. */
  hasRead: (range: Range) => boolean;
}

export function Plot({ lanes, view, now, hasRead }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const axis = useRef<HTMLCanvasElement>(null);
  const colours = useRef<Palette | null>(null);
  const frame = useRef(0);
  const [selected, setActive] = useState<Entry | null>(null);
  const [hovered, setHovered] = useState<Entry | null>(null);
  const active = asRead(selected, lanes);
  const shown = asRead(hovered, lanes) ?? active;

  const draw = (): void => {
    frame.current = 0;
    if (!box.current || !canvas.current || !axis.current) return; // the observer reports once more on removal
    const layout = layoutOf(box.current, axis.current);
    Object.assign(box.current.dataset, view.range);
    colours.current ??= palette();
    paintLanes(canvas.current, latest.current.lanes, view.range, latest.current.now, layout, colours.current, latest.current.active);
    paintAxis(axis.current, axis.current.clientHeight, view.range, latest.current.now, layout, colours.current);
  };
  const latest = useRef({ lanes, now, active, draw });
  latest.current = { lanes, now, active, draw };
  const drawSoon = (): void => {
    if (frame.current === 0) frame.current = requestAnimationFrame(() => latest.current.draw());
  };
  useLayoutEffect(draw);
  useEffect(() => {
    const observer = new ResizeObserver(() => latest.current.draw());
    observer.observe(box.current as HTMLDivElement);
    const forget = onColours(() => {
      colours.current = null;
      latest.current.draw();
    });
    return () => {
      observer.disconnect();
      forget();
      cancelAnimationFrame(frame.current);
    };
  }, []);

  const move = (wanted: Range): void => {
    view.move(within(wanted, latest.current.now));
    setHovered(null);
    drawSoon();
  };
  const open = (entry: Entry): void => {
    view.settle(); // so that back leads to what is shown
    go(runPath(entry.task, entry.run.id));
  };
  const width = (): number => (box.current as HTMLDivElement).clientWidth;
  const timeAt = (x: number): number => view.range.from + (x / width()) * (view.range.to - view.range.from);

  usePointer(box, {
    drag: (pixels) => move(moved(view.range, -pixels / width())),
    zoom: (factor, x) => move(zoomed(view.range, factor, timeAt(x))),
    hover: (x, y) => setHovered(entryAt(x, y)),
    leave: () => setHovered(null),
    click: (x, y) => {
      const entry = entryAt(x, y);
      if (entry) open(entry);
    },
  });

  /** The entry at a place: the nearest one, and of several as near the one that matters most. */
  const entryAt = (x: number, y: number): Entry | null => {
    const element = canvas.current as HTMLCanvasElement;
    const lane = latest.current.lanes[Math.floor((y - element.offsetTop) / rowHeight(element, latest.current.lanes.length))];
    const near: Range = { from: timeAt(x - 2 * REACH), to: timeAt(x + 2 * REACH) };
    let [best, least] = [null as Entry | null, Infinity];
    for (const entry of lane?.row.within(near, latest.current.now) ?? []) {
      const [left, wide] = entry.isRun ? barOf(entry, view.range, width(), latest.current.now) : [xOf(view.range, width(), entry.from) - 3, 6];
      const distance = Math.max(0, left - x, x - left - wide) - SEVERITY.indexOf(entry.run.outcome) / 10;
      if (distance <= REACH && distance <= least) [best, least] = [entry, distance];
    }
    return best;
  };

  const select = (entry: Entry | undefined): void => {
    if (!entry) return;
    setActive(entry);
    setHovered(null);
    const { from, to } = view.range;
    const end = Math.min(entry.to ?? now, entry.from + (to - from) / 2);
    if (entry.from < from || end > to) move(moved(view.range, (entry.from - (from + to) / 2) / (to - from)));
  };
  const laneOf = (entry: Entry | null): number => Math.max(0, lanes.findIndex(({ row }) => row.task === entry?.task));
  /** The entry of a lane that is nearest to a time, from the given lane on. */
  const nearest = (index: number, step: number, time: number): Entry | undefined => {
    for (let at = index; lanes[at]; at += step) {
      const { row } = lanes[at] as Lane;
      const next = row.firstFrom(time);
      const [before, after] = [row.entries[next - 1], row.entries[next]];
      if (before && after) return time - before.from < after.from - time ? before : after;
      if (before ?? after) return before ?? after;
    }
    return undefined;
  };
  /** The last entry in view of the first lane that has one. */
  const firstShown = (): Entry | undefined => lanes.map(({ row }) => row.within(view.range, now).at(-1)).find((entry) => entry);
  const first = (): Entry | undefined => firstShown() ?? nearest(0, 1, now);
  const step = (by: -1 | 1): Entry | undefined => {
    if (!active) return first();
    const { entries } = (lanes[laneOf(active)] as Lane).row;
    const next = entries[entries.findIndex(({ run }) => run.id === active.run.id) + by];
    if (!next || hasRead({ from: Math.min(active.from, next.from), to: Math.max(active.from, next.from) })) return next;
    move(moved(view.range, by * SHARE)); // what lies between is read when it is in view
    return undefined;
  };
  const keys = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const middle = active && active.from >= view.range.from && active.from <= view.range.to ? active.from : (view.range.from + view.range.to) / 2;
    const entries = lanes[laneOf(active)]?.row.entries ?? [];
    const actions: { [key: string]: () => void } = {
      ArrowLeft: () => (event.shiftKey ? move(moved(view.range, -SHARE)) : select(step(-1))),
      ArrowRight: () => (event.shiftKey ? move(moved(view.range, SHARE)) : select(step(1))),
      ArrowUp: () => select(nearest(laneOf(active) - 1, -1, active?.from ?? now)),
      ArrowDown: () => select(active ? nearest(laneOf(active) + 1, 1, active.from) : first()),
      Home: () => select(entries[0]),
      End: () => select(entries.at(-1)),
      PageUp: () => move(moved(view.range, -1)),
      PageDown: () => move(moved(view.range, 1)),
      "+": () => move(zoomed(view.range, 1 / ZOOM, middle)),
      "=": () => move(zoomed(view.range, 1 / ZOOM, middle)),
      "-": () => move(zoomed(view.range, ZOOM, middle)),
      Enter: () => active && open(active),
      Escape: () => setActive(null),
    };
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  };

  return (
    <div
      ref={box}
      class="plot"
      role="listbox"
      tabIndex={0}
      aria-label={`Timeline of ${plural(lanes.length, "task")}`}
      aria-describedby="timeline-help"
      aria-activedescendant={active ? "timeline-active" : undefined}
      onKeyDown={keys}
      onFocus={(event) => event.currentTarget.matches(":focus-visible") && active === null && setActive(firstShown() ?? null)}
      onBlur={() => setActive(null)}
    >
      <canvas ref={axis} class="axis" aria-hidden="true" />
      <canvas ref={canvas} class="lanes" aria-hidden="true" style={{ height: `calc(var(--row) * ${lanes.length})` }} />
      {active && <span id="timeline-active" class="hidden" role="option" aria-selected="true" aria-label={entryText(active, now)} />}
      {shown && <EntryHint entry={shown} now={now} place={hintPlace(shown, laneOf(shown), view.range, width(), canvas.current as HTMLCanvasElement, lanes.length)} />}
    </div>
  );
}

/** An entry as it was last read: a run may have ended since it was selected. */
const asRead = (entry: Entry | null, lanes: Lane[]): Entry | null =>
  entry && (lanes.find(({ row }) => row.task === entry.task)?.row.find(entry.run.id) ?? null);

const rowHeight = (canvas: HTMLCanvasElement, rows: number): number => canvas.clientHeight / rows;

/** Sizes by the style sheet: a row leaves room for the name of its task above the bars if the screen is narrow. */
function layoutOf(box: HTMLElement, axis: HTMLElement): Layout {
  const style = getComputedStyle(box);
  const rem = Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
  const [row, top] = ["--row", "--bar-top"].map((name) => Number.parseFloat(style.getPropertyValue(name)) * rem) as [number, number];
  const bar = 1.05 * rem;
  return {
    width: box.clientWidth,
    row,
    top: Math.round(top),
    bar: Math.round(bar),
    marks: Math.round(top + bar + 0.65 * rem),
    font: `${Math.round(0.82 * rem)}px ${getComputedStyle(axis).fontFamily}`,
    label: 5.2 * rem,
  };
}

function hintPlace(entry: Entry, lane: number, view: Range, width: number, canvas: HTMLCanvasElement, lanes: number): { left: number; width: number; top: number } {
  const left = Math.min(width, Math.max(0, xOf(view, width, Math.max(entry.from, view.from))));
  return { left, width, top: canvas.offsetTop + (lane + 1) * rowHeight(canvas, lanes) };
}

interface Gestures {
  drag: (pixels: number) => void;
  zoom: (factor: number, x: number) => void;
  hover: (x: number, y: number) => void;
  leave: () => void;
  click: (x: number, y: number) => void;
}

/** Follows mouse, pen and fingers on an element: one pointer drags, two zoom. */
function usePointer(box: { current: HTMLElement | null }, gestures: Gestures): void {
  const latest = useRef(gestures);
  latest.current = gestures;
  useEffect(() => {
    const element = box.current as HTMLElement;
    const pointers = new Map<number, { x: number; y: number }>();
    let dragged = false;
    const placeOf = (event: MouseEvent): { x: number; y: number } => {
      const { left, top } = element.getBoundingClientRect();
      return { x: event.clientX - left, y: event.clientY - top };
    };
    const down = (event: PointerEvent): void => {
      if (event.button !== 0) return;
      if (pointers.size === 0) dragged = false;
      pointers.set(event.pointerId, placeOf(event));
      element.setPointerCapture(event.pointerId);
    };
    const move = (event: PointerEvent): void => {
      const { x, y } = placeOf(event);
      const before = pointers.get(event.pointerId);
      if (!before) {
        if (event.pointerType !== "touch") latest.current.hover(x, y);
        return;
      }
      const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
      if (other) {
        const distance = (one: number): number => Math.max(20, Math.abs(one - other.x));
        dragged = true;
        latest.current.drag((x - before.x) / 2);
        latest.current.zoom(distance(before.x) / distance(x), (x + other.x) / 2);
      } else {
        if (!dragged && Math.hypot(x - before.x, y - before.y) < SLACK) return;
        dragged = true;
        latest.current.drag(x - before.x);
      }
      pointers.set(event.pointerId, { x, y });
    };
    const up = (event: PointerEvent): void => {
      if (!pointers.delete(event.pointerId) || pointers.size > 0 || dragged || event.type === "pointercancel") return;
      const { x, y } = placeOf(event);
      latest.current.click(x, y);
    };
    const leave = (): void => latest.current.leave();
    const wheel = (event: WheelEvent): void => {
      const { deltaX, deltaY, ctrlKey, metaKey, shiftKey } = event;
      const across = shiftKey ? deltaX || deltaY : deltaX;
      const zooms = ctrlKey || metaKey || document.documentElement.scrollHeight <= innerHeight; // otherwise the page scrolls
      if (shiftKey || Math.abs(across) > Math.abs(deltaY)) latest.current.drag(-across);
      else if (zooms) latest.current.zoom(WHEEL ** deltaY, placeOf(event).x);
      else return;
      event.preventDefault();
    };
    const listeners: [string, (event: never) => void][] = [
      ["pointerdown", down], ["pointermove", move], ["pointerup", up], ["pointercancel", up], ["pointerleave", leave], ["wheel", wheel],
    ]; // prettier-ignore
    for (const [name, listener] of listeners) element.addEventListener(name, listener as EventListener, { passive: false });
    return () => {
      for (const [name, listener] of listeners) element.removeEventListener(name, listener as EventListener);
    };
  }, []);
}
