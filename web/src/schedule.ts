// Describes a schedule in words and compares a result's age with the schedule's ticks.
// Only common forms have words; other schedules are shown as written.
import { VIEWER_ZONE } from "./format";
import type { Task } from "./wire";

const DAYS = ["Sundays", "Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"];

export function cadence(schedule: string | null): string {
  if (schedule === null) return "No schedule";
  return ofCron(schedule.trim().split(/\s+/)) ?? schedule;
}

/** Whether a task's schedule contains a time of day, which is one in the task's time zone. */
const hasTimeOfDay = (schedule: string | null): boolean => schedule !== null && !/^\S+\s+\*\s/.test(schedule.trim());

/** Whether times of day in a task's schedule differ from the times that the page shows. */
export const isInOtherZone = ({ schedule, time_zone }: Task): boolean => hasTimeOfDay(schedule) && time_zone !== VIEWER_ZONE;

export const zoneName = (zone: string): string => (zone === "Etc/UTC" ? "UTC" : zone);

/** A task's schedule in words, with the zone of its times if that is not the viewer's. */
export const scheduleText = (task: Task): string =>
  `${cadence(task.schedule)}${isInOtherZone(task) ? ` ${zoneName(task.time_zone)}` : ""}`;

/** An interval in words; null if the last interval of an hour or a day is shorter than the others. */
function evenly(step: string, unit: string, of: number, suffix = ""): string | null {
  const count = Number(step);
  if (of % count !== 0) return null;
  return (count === 1 ? `every ${unit}` : `every ${count} ${unit}s`) + suffix;
}

function ofCron([minute, hour, day, month, weekday]: string[]): string | null {
  if (minute === undefined || hour === undefined || day !== "*" || month !== "*") return null;
  const step = /^\*(?:\/(\d+))?$/;
  const minutes = step.exec(minute);
  const hours = step.exec(hour);
  if (weekday === "*" && minutes && hour === "*") return evenly(minutes[1] ?? "1", "minute", 60);
  if (!/^\d+$/.test(minute)) return null;
  const at = minute.padStart(2, "0");
  if (weekday === "*" && hours) return evenly(hours[1] ?? "1", "hour", 24, `, at :${at}`);
  if (!/^\d+$/.test(hour)) return null;
  const time = `${hour.padStart(2, "0")}:${at}`;
  if (weekday === "*") return `daily at ${time}`;
  return weekday !== undefined && /^[0-7]$/.test(weekday) ? `${DAYS[Number(weekday)]} at ${time}` : null;
}

export interface Freshness {
  words: string;
  tone: "ok" | "warn" | "bad" | "idle";
  /** Age in ticks of the schedule; 1 is the greatest age of a result that is on time. */
  ticks: number | null;
}

/** Milliseconds by which a run may exceed the last one's duration before its result counts as late. */
const GRACE_MS = 90_000;

/** When the tick or the request of a run was, which its id contains; undefined for any other run. */
function tickOf(runId: string | null | undefined): number | undefined {
  const time = /^(?:request-)?(\d{4}-\d\d-\d\dT[\d:.]+Z)$/.exec(runId ?? "");
  return time?.[1] === undefined ? undefined : Date.parse(time[1]);
}

/** Compare a result's age with the ticks that the service lists, as `cli/lateness.py` does, because intervals may differ. */
export function freshness(task: Task, completed: string, now: number): Freshness {
  if (task.suspended !== null) return { words: "not updated while suspended", tone: "idle", ticks: null };
  const published = Date.parse(completed);
  const ticks = task.recent_ticks.map((tick) => Date.parse(tick));
  const [last] = ticks;
  if (last === undefined) return { words: "", tone: "idle", ticks: null };
  const since = ticks.filter((tick) => tick > published);
  // Allow the next run as much time from tick to result as the last one took, which may be several ticks.
  const tick = tickOf(task.result?.run_id) ?? ticks.find((each) => each <= published);
  const took = tick === undefined ? 0 : Math.min(published - tick, task.deadline_seconds * 1000);
  const late = since.filter((each) => each + took + GRACE_MS < now).length;
  const next = task.next_run === null ? null : Date.parse(task.next_run);
  const part = next === null || next <= last ? 0 : Math.min(1, Math.max(0, (now - last) / (next - last)));
  const age = since.length + part;
  if (late === 0) return { words: "on time", tone: "ok", ticks: age };
  const count = late === ticks.length ? `${late} or more runs` : late === 1 ? "1 run" : `${late} runs`;
  return { words: `${count} late`, tone: late < 3 ? "warn" : "bad", ticks: age };
}
