// Formats times, durations, sizes and states. Pure functions; times are in the viewer's time zone.

import type { Actor, Failure, Legs, NextAttempt } from "./wire";

const WORDS: Record<string, string> = {
  running: "Running",
  completed: "Completed",
  failed: "Failed",
  cancelled: "Cancelled",
  skipped: "Skipped",
  missed_tick: "Missed",
  lost_leg: "Leg lost",
  overdue_original: "Overdue",
  suspended: "Suspended",
  resumed: "Resumed",
  cancelling: "Cancelling",
  requested: "Run requested",
  refused: "Refused",
};

/** A state in words. */
export function word(state: string | null): string {
  return state === null ? "Never ran" : (WORDS[state] ?? state.replaceAll("_", " "));
}

/** The CSS class of a state's colour: ok, bad, cancel, run, warn, off or idle. */
export function tone(state: string | null): string {
  switch (state) {
    case "completed":
      return "ok";
    case "failed":
      return "bad";
    case "cancelled":
      return "cancel";
    case "running":
      return "run";
    case "missed_tick":
    case "lost_leg":
    case "overdue_original":
    case "cancelling":
    case "refused":
      return "warn";
    case "suspended":
    case "resumed":
      return "off";
    default:
      return "idle";
  }
}

/** Integers in results have at most 64 bits; a larger number was a float and is shown unchanged. */
const LARGEST_INTEGER = 2 ** 64;

/** Whether a number may stand for an integer that JavaScript has rounded, or for a float of that size. */
export const isRounded = (value: unknown): boolean =>
  typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) <= LARGEST_INTEGER;

export const ROUNDED = "May be rounded: beyond 2^53. The download has the exact value.";

/**
 * A value of a record as text, as stored, because a number may be an id or a year and a search compares it. A rounded
 * integer is marked.
 */
export const exact = (value: unknown): string => (isRounded(value) ? `≈ ${BigInt(value as number)}` : String(value));

const NUMBER = new Intl.NumberFormat("en-GB");
const ALL_DIGITS = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 20 });

/** A count of the page's own, with groups of digits. */
export const number = (value: number): string => NUMBER.format(value);

/** A number of a summary with groups of digits; no digit of it is lost. */
export const grouped = (value: number): string => (isRounded(value) || Math.abs(value) >= 1e15 ? exact(value) : ALL_DIGITS.format(value));

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${number(count)} ${count === 1 ? one : many}`;
}

export function duration(seconds: number): string {
  if (seconds < 0.95) return `${Math.max(0, Math.round(seconds * 100) / 100)} s`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return joined(Math.floor(whole / 60), "min", whole % 60, "s");
  if (whole < 86400) return joined(Math.floor(whole / 3600), "h", Math.round((whole % 3600) / 60), "min");
  return joined(Math.floor(whole / 86400), "d", Math.round((whole % 86400) / 3600), "h");
}

function joined(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

/** An age in one unit, because ages change while they are shown. */
export function age(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 2 * 86400) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86400)} d`;
}

export const ago = (time: string, now: number): string => `${age((now - Date.parse(time)) / 1000)} ago`;

export function timeUntil(time: string, now: number): string {
  const seconds = (Date.parse(time) - now) / 1000;
  return seconds > 0 ? `in ${age(seconds)}` : "due now";
}

export function size(bytes: number): string {
  if (bytes < 1000) return `${Math.round(bytes)} B`;
  const [unit, divisor] = bytes < 999_500 ? ["kB", 1e3] : bytes < 999_500_000 ? ["MB", 1e6] : ["GB", 1e9];
  const count = bytes / divisor;
  return `${count.toFixed(count < 9.95 ? 1 : 0)} ${unit}`;
}

export const percent = (share: number): string =>
  `${number(share > 0.99 && share < 1 ? 99 : share < 0.01 && share > 0 ? 1 : Math.round(share * 100))} %`;

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const CLOCK_SECONDS = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const DAY_OF_YEAR = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" });

/** Time of day, with the date unless it is today's, and with the year unless it is this year. */
export function clock(time: string | number, now: number, seconds = false): string {
  const date = new Date(time);
  const text = (seconds ? CLOCK_SECONDS : CLOCK).format(date);
  const present = new Date(now);
  if (date.toDateString() === present.toDateString()) return text;
  return `${(date.getFullYear() === present.getFullYear() ? DAY : DAY_OF_YEAR).format(date)}, ${text}`;
}

const ZONE = new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" });

/** The short name of the viewer's time zone at a time, such as CET. */
export const zoneAt = (time: string): string =>
  ZONE.formatToParts(new Date(time)).find(({ type }) => type === "timeZoneName")?.value ?? "";

/** The viewer's time zone at a time: its short name, and its full one where they differ. */
export function zoneText(time: string): string {
  const short = zoneAt(time);
  return short === VIEWER_ZONE ? short : `${short} (${VIEWER_ZONE})`;
}

/** Date, time and zone, for tooltips. */
export const fullTime = (time: string): string => FULL.format(new Date(time));

export const VIEWER_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

export const PLACES: Record<string, string> = {
  db: "in the status document",
  storage: "in Storage",
  none: "not stored",
  contract: "written by a legacy writer",
};

/** How a run was started. Cloud Scheduler delivers a forced run without a tick. */
export function trigger(source: string | null, tick: string | null | undefined, requested: Actor | null): string {
  if (requested) return `Requested by ${actorText(requested)}`;
  if (source === null) return "Unknown trigger";
  if (!source.startsWith("firebase-schedule-")) return `Started by ${source}`;
  return tick === null ? "Forced in Cloud Scheduler" : "Scheduled";
}

/** Type of the error of a cancelled run, whose state is `failed`. */
const CANCELLED_TYPE = "RunCancelled";

/** An error as text: of a cancelled run, who cancelled it and why. */
export function errorText(type: string | null, message: string | null): string {
  const text = [type === CANCELLED_TYPE ? null : type, message].filter(Boolean).join(": ");
  return text.replace(/^(?:RunCancelled: )?cancelled by /, "Cancelled by ");
}

/** The failure of a leg that is tried again. */
export const failureText = ({ type, message }: Failure): string => `Last failure, tried again: ${errorText(type, message)}`;

/** The leg of a running run, or what the run waits for. */
export function legText(legs: Legs, now: number): string {
  const leg = legs.tries > 1 ? `leg ${legs.number}, attempt ${legs.tries} since its last checkpoint` : `leg ${legs.number}`;
  if (legs.waiting_since === null || legs.expected_by === null) return leg;
  const by = clock(legs.expected_by, now, true);
  const expected = Date.parse(legs.expected_by) < now ? `overdue since ${by}: the watchdog delivers it again` : `expected by ${by}`;
  return `waiting for leg ${legs.number} since ${clock(legs.waiting_since, now, true)}, ${expected}`;
}

/** Positions of cursors on one line. */
export const positionsText = (positions: { [cursor: string]: string }): string =>
  Object.entries(positions)
    .map(([cursor, position]) => `${cursor}: ${position}`)
    .join(", ");

/** Who acted, and why. Callers without a role do not receive the reason. */
export const actorText = ({ by, reason }: { by: string | null; reason: string | null }): string => (reason ? `${by}: ${reason}` : `${by}`);

/** Such as "attempt 2 of 6, again at 00:15:23". */
export const nextAttemptText = ({ number: attempt, of, at }: NextAttempt, now: number): string =>
  `attempt ${attempt} of ${of}, ${at === null ? "at an unknown time" : Date.parse(at) > now ? `again at ${clock(at, now, true)}` : "due now"}`;
