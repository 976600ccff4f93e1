// Times, durations, sizes and names as a person reads them. Pure functions; times in the viewer's zone.

import type { Said } from "./wire";

const WORDS: Record<string, string> = {
  running: "Running",
  completed: "Completed",
  failed: "Failed",
  skipped: "Skipped",
  missed_tick: "Missed",
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

/** The class that colours a state: ok, bad, run, warn, off or idle. */
export function tone(state: string | null): string {
  switch (state) {
    case "completed":
      return "ok";
    case "failed":
      return "bad";
    case "running":
      return "run";
    case "missed_tick":
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

/** Integers of results have 64 bits at most; what is larger was a float, and is shown as it is. */
const LARGEST_INTEGER = 2 ** 64;

/** Whether a number may stand for an integer that JavaScript has rounded, or for a float of that size. */
export const isRounded = (value: unknown): boolean =>
  typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) <= LARGEST_INTEGER;

export const ROUNDED = "May be rounded: beyond 2^53. The download has the exact value.";

/** A value as text; a rounded integer is marked. */
export const exact = (value: unknown): string => (isRounded(value) ? `≈ ${BigInt(value as number)}` : String(value));

export const number = (value: number): string => value.toLocaleString("en-GB");

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

/** One unit only: for ages, which move while one looks. */
export function age(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 2 * 86400) return `${Math.floor(whole / 3600)} h`;
  return `${Math.floor(whole / 86400)} d`;
}

export const ago = (time: string, now: number): string => `${age((now - Date.parse(time)) / 1000)} ago`;

export function until(time: string, now: number): string {
  const seconds = (Date.parse(time) - now) / 1000;
  return seconds > 0 ? `in ${age(seconds)}` : "due now";
}

export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(bytes < 1e4 ? 1 : 0)} kB`;
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

export const percent = (share: number): string =>
  `${share > 0.99 && share < 1 ? 99 : share < 0.01 && share > 0 ? 1 : Math.round(share * 100)} %`;

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const CLOCK_SECONDS = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "long" });

/** Time of day, with the day where that is not today's. */
export function clock(time: string | number, now: number, seconds = false): string {
  const date = new Date(time);
  const said = (seconds ? CLOCK_SECONDS : CLOCK).format(date);
  return DAY.format(date) === DAY.format(new Date(now)) ? said : `${DAY.format(date)}, ${said}`;
}

/** All of a time, with its zone: what a pointer that rests on a short one is shown. */
export const fullTime = (time: string): string => FULL.format(new Date(time));

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

export const PLACES: Record<string, string> = {
  db: "in the status document",
  storage: "in Storage",
  none: "nowhere",
  contract: "by the contract's other writer",
};

/** Who started a run; one that Cloud Scheduler delivered beside the schedule was asked for. */
export function starter(source: string | null, tick: string | null | undefined, requested: Said | null): string {
  if (requested) return `Cloud Scheduler, on request of ${requested.by}`;
  if (source === null) return "nobody known";
  if (!source.startsWith("firebase-schedule-")) return source;
  return tick === null ? "Cloud Scheduler, on request" : "its schedule";
}

/** Who acted, and why. Callers without a role are not told the reason. */
export const who = ({ by, reason }: { by: string | null; reason: string | null }): string => (reason ? `${by}: ${reason}` : `${by}`);
