// A schedule in words, the time between two of its ticks, and how old a result is against that.
// The forms that people write are known; any other one is shown as it stands.

export interface Cadence {
  words: string;
  /** Seconds from one tick to the next; null where the ticks are not even, or unknown. */
  seconds: number | null;
}

const UNITS: Record<string, number> = { minute: 60, hour: 3600, day: 86400 };
const DAYS = ["Sundays", "Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays"];

export function cadence(schedule: string | null): Cadence {
  if (schedule === null) return { words: "no schedule", seconds: null };
  const every = /^every (\d+ )?(minute|hour|day)s?$/.exec(schedule.trim());
  if (every) return evenly(Number(every[1] ?? 1), every[2] as string);
  return ofCron(schedule.trim().split(/\s+/)) ?? { words: schedule, seconds: null };
}

function evenly(count: number, unit: string, suffix = ""): Cadence {
  const words = count === 1 ? `every ${unit}` : `every ${count} ${unit}s`;
  return { words: words + suffix, seconds: count * (UNITS[unit] as number) };
}

function ofCron([minute, hour, day, month, weekday]: string[]): Cadence | null {
  if (minute === undefined || hour === undefined || day !== "*" || month !== "*") return null;
  const step = /^\*(?:\/(\d+))?$/;
  const minutes = step.exec(minute);
  const hours = step.exec(hour);
  if (weekday === "*" && minutes && hour === "*") return evenly(Number(minutes[1] ?? 1), "minute");
  if (!/^\d+$/.test(minute)) return null;
  const at = minute.padStart(2, "0");
  if (weekday === "*" && hours) return evenly(Number(hours[1] ?? 1), "hour", `, at :${at}`);
  if (!/^\d+$/.test(hour)) return null;
  const time = `${hour.padStart(2, "0")}:${at}`;
  if (weekday === "*") return { words: `daily at ${time}`, seconds: 86400 };
  if (weekday !== undefined && /^[0-7]$/.test(weekday)) {
    return { words: `${DAYS[Number(weekday)]} at ${time}`, seconds: 7 * 86400 };
  }
  return null;
}

export interface Freshness {
  words: string;
  tone: "ok" | "warn" | "bad" | "idle";
  /** Age in ticks of the schedule: 1 is as old as a result gets when all is well. */
  ticks: number | null;
}

/** Seconds that a run may take to publish before its result counts as late. */
const GRACE_SECONDS = 90;

/** How old a result is against its schedule. */
export function freshness(ageSeconds: number, every: number | null, suspended: boolean): Freshness {
  if (suspended) return { words: "stands still while suspended", tone: "idle", ticks: null };
  if (every === null) return { words: "", tone: "idle", ticks: null };
  const ticks = ageSeconds / every;
  const behind = Math.floor((ageSeconds - GRACE_SECONDS) / every);
  if (behind < 1) return { words: "on time", tone: "ok", ticks };
  return { words: behind === 1 ? "1 run late" : `${behind} runs late`, tone: behind < 3 ? "warn" : "bad", ticks };
}
