// The time range of the timeline: in the address, by preset, and after moving or zooming. Times are in milliseconds.

export interface Range {
  from: number;
  to: number;
}

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** How far back the timeline goes, and how far ahead ticks are known. */
export const PAST = 7 * DAY;
export const AHEAD = DAY;
const MIN_SPAN = 2 * MINUTE;

/** The ranges that follow the time: their name in the address and on the page, and how far back they go. */
export const PRESETS: [name: string, label: string, past: number][] = [
  ["1h", "1 hour", HOUR],
  ["6h", "6 hours", 6 * HOUR],
  ["24h", "24 hours", DAY],
  ["3d", "3 days", 3 * DAY],
  ["7d", "7 days", 7 * DAY],
];
export const DEFAULT_PRESET = "24h";

/** The range of a preset: the past, and some of the time to come. */
function following(past: number, now: number): Range {
  return { from: now - past, to: now + Math.min(AHEAD, Math.max(15 * MINUTE, past / 4)) };
}

/** The range in the address, and the preset that it follows; null if it has a fixed start and end. */
export function timelineRangeOf(query: URLSearchParams, now: number): Range & { preset: string | null } {
  const [from, to] = [Date.parse(query.get("from") ?? ""), Date.parse(query.get("to") ?? "")];
  if (from < to) return { ...within({ from, to }, now), preset: null };
  const [name, , past] = PRESETS.find(([each]) => each === query.get("range")) ?? (PRESETS.find(([each]) => each === DEFAULT_PRESET) as (typeof PRESETS)[number]);
  return { ...following(past, now), preset: name };
}

/** The query of an address that shows a range. */
export const rangeQuery = ({ from, to }: Range): { [name: string]: string } => ({ range: "", from: timeText(from), to: timeText(to) });

/** What identifies the range in the address. */
export const rangeKey = (query: URLSearchParams): string => ["range", "from", "to"].map((name) => query.get(name)).join();

/** The query of an address that follows a preset. */
export const presetQuery = (name: string): { [name: string]: string } => ({ range: name === DEFAULT_PRESET ? "" : name, from: "", to: "" });

export const timeText = (time: number): string => new Date(time).toISOString().replace(".000Z", "Z");

/** The same range, moved and shortened to the time that the timeline covers. */
export function within({ from, to }: Range, now: number): Range {
  const span = Math.min(PAST + AHEAD, Math.max(MIN_SPAN, to - from));
  const middle = (from + to) / 2;
  const begin = Math.min(now + AHEAD - span, Math.max(now - PAST, middle - span / 2));
  return { from: begin, to: begin + span };
}

/** @param share Part of the range by which it moves; negative for earlier. */
export const moved = ({ from, to }: Range, share: number): Range => ({ from: from + (to - from) * share, to: to + (to - from) * share });

/** @param at The time that stays where it is. */
export const zoomed = ({ from, to }: Range, factor: number, at: number): Range => ({ from: at - (at - from) * factor, to: at + (to - at) * factor });

/** The parts of a range that known ranges, in their order, leave open; the earliest first. */
export function missing({ from, to }: Range, known: Range[]): Range[] {
  const parts: Range[] = [];
  let open = from;
  for (const each of known) {
    if (each.to <= open) continue;
    if (each.from >= to) break;
    if (each.from > open) parts.push({ from: open, to: each.from });
    open = each.to;
  }
  if (open < to) parts.push({ from: open, to });
  return parts;
}

/** Known ranges with another one, in their order; those that touch it become one. */
export function joined(known: Range[], { from, to }: Range): Range[] {
  const touching = known.filter((each) => each.from <= to && each.to >= from);
  const whole = { from: Math.min(from, ...touching.map((each) => each.from)), to: Math.max(to, ...touching.map((each) => each.to)) };
  return [...known.filter((each) => !touching.includes(each)), whole].sort((one, other) => one.from - other.from);
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720].map((minutes) => minutes * MINUTE);
const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DATE = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short" });

export interface AxisMark {
  at: number;
  label: string;
  /** Whether a day begins here. */
  day: boolean;
}

/** The marks of the time axis in the viewer's time zone, at least `least` milliseconds apart. */
export function axisMarks({ from, to }: Range, least: number): AxisMark[] {
  const marks: AxisMark[] = [];
  const step = STEPS.find((each) => each >= least);
  const day = new Date(from);
  day.setHours(0, 0, 0, 0);
  for (; day.getTime() < to; day.setDate(day.getDate() + 1)) {
    const begin = day.getTime();
    const next = new Date(begin);
    next.setDate(next.getDate() + 1);
    if (begin >= from) marks.push({ at: begin, label: DATE.format(begin), day: true });
    if (step === undefined) continue;
    for (let at = begin + step; at < Math.min(to, next.getTime() - least / 2); at += step) {
      if (at >= from) marks.push({ at, label: CLOCK.format(at), day: false });
    }
  }
  return marks;
}
