// Figures computed from a task's history: success rate, usual duration and its trend, time left of a run.
import { percent } from "./format";
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
  /** Number of runs that completed, failed, or were missed; cancelled runs are none of these. */
  ended: number;
  completed: number;
  usual: number | null;
  /** Share by which the last runs took longer than the earlier ones; null if there are too few runs. */
  trend: number | null;
}

const RECENT_RUNS = 10;

/** @param runs Newest first. */
export function recordOf(runs: Run[]): Record {
  const completed = runs.filter((run) => run.state === "completed").length;
  const ended = completed + runs.filter((run) => run.outcome === "failed" || run.state === "missed_tick").length;
  const took = durations(runs);
  const recent = median(took.slice(0, RECENT_RUNS));
  const before = took.length >= 2 * RECENT_RUNS ? median(took.slice(RECENT_RUNS)) : null;
  const trend = recent !== null && before ? recent / before - 1 : null;
  return { ended, completed, usual: median(took), trend };
}

/** Smaller differences in duration count as noise. */
const STEADY = 0.15;

export function trendWords(trend: number | null): string {
  if (trend === null) return "";
  if (Math.abs(trend) < STEADY) return "steady";
  return trend > 0 ? `${percent(trend)} slower` : `${percent(-trend)} faster`;
}

/**
 * Estimated seconds left of the current run, from its progress or from earlier runs; negative if overdue.
 * A long run started with its first leg, and its progress is that of all legs.
 */
export function secondsLeft(task: Task, runs: Run[], present: number): number | null {
  const started = task.run?.started ?? task.started;
  if (!started) return null;
  const waitingSince = task.run?.legs?.waiting_since;
  const now = waitingSince ? Date.parse(waitingSince) : present; // nothing is done while it waits
  const elapsed = (now - Date.parse(started)) / 1000;
  const progress = task.run?.progress;
  if (progress?.total && progress.done > 0) {
    // Count down since the last progress report; otherwise the estimate would grow between two reports.
    const since = (now - Date.parse(progress.at)) / 1000;
    const left = ((elapsed - since) * Math.max(0, progress.total - progress.done)) / progress.done - since;
    if (left > 0) return left;
  }
  const usual = median(durations(runs));
  return usual === null ? null : usual - elapsed;
}
