// Figures that a task's history gives: success rate, usual duration, its trend, how long a run may still take.
import type { Run, Task } from "./wire";

export function median(values: number[]): number | null {
  if (values.length === 0) return null;
  const sorted = values.toSorted((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? (sorted[middle] as number) : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

const durations = (runs: Run[]): number[] =>
  runs.filter((run) => run.state === "completed" && run.duration_seconds !== null).map((run) => run.duration_seconds as number);

export interface Record {
  /** Runs that ended: completed, failed, or missed altogether. */
  ended: number;
  completed: number;
  usual: number | null;
  /** Share by which the last runs take longer than those before; null where there are too few. */
  trend: number | null;
}

const RECENT_RUNS = 10;

/** @param runs Newest first. */
export function recordOf(runs: Run[]): Record {
  const completed = runs.filter((run) => run.state === "completed").length;
  const ended = completed + runs.filter((run) => run.state === "failed" || run.state === "missed_tick").length;
  const took = durations(runs);
  const recent = median(took.slice(0, RECENT_RUNS));
  const before = took.length >= 2 * RECENT_RUNS ? median(took.slice(RECENT_RUNS)) : null;
  const trend = recent !== null && before ? recent / before - 1 : null;
  return { ended, completed, usual: median(took), trend };
}

/** Below this share a difference of durations is chance. */
const STEADY = 0.15;

export function trendWords(trend: number | null): string {
  if (trend === null) return "";
  if (Math.abs(trend) < STEADY) return "steady";
  return trend > 0 ? `${Math.round(trend * 100)} % slower` : `${Math.round(-trend * 100)} % faster`;
}

/** Seconds that the present run still takes, as far as its progress or its predecessors tell; negative: overdue. */
export function secondsLeft(task: Task, runs: Run[], now: number): number | null {
  const started = task.run?.started ?? task.started;
  if (!started) return null;
  const elapsed = (now - Date.parse(started)) / 1000;
  const progress = task.run?.progress;
  if (progress?.total && progress.done > 0) {
    // As told at its last progress, counted down since: between two of them it comes nearer, not further away.
    const since = (now - Date.parse(progress.at)) / 1000;
    const left = ((elapsed - since) * Math.max(0, progress.total - progress.done)) / progress.done - since;
    if (left > 0) return left;
  }
  const usual = median(durations(runs));
  return usual === null ? null : usual - elapsed;
}
