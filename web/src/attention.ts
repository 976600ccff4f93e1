// Which tasks need attention, and how the overview filters, searches and sorts tasks.
import { cadence, freshness } from "./schedule";
import { matcher } from "./search";
import type { Task } from "./wire";

export const hasFailed = (task: Task): boolean => task.status === "failed" && task.outcome === "failed";
export const isCancelled = (task: Task): boolean => task.status === "failed" && task.outcome === "cancelled";

export function isLate(task: Task, now: number): boolean {
  const completed = task.result?.completed;
  if (!completed) return false;
  const { tone } = freshness(task, completed, now);
  return tone === "warn" || tone === "bad";
}

/** How much attention a task needs, from 0 (most): failed, out of order or late, cancelled, anything else. */
function urgency(task: Task, now: number): number {
  if (hasFailed(task)) return 0;
  if (task.problem !== null || task.run?.last_failure || isLate(task, now)) return 1;
  return isCancelled(task) ? 2 : 3;
}

const LEAST_URGENT = 2;

export const needsAttention = (task: Task, now: number): boolean => urgency(task, now) < LEAST_URGENT;

interface Filter {
  name: string;
  /** Its value in the address. */
  value: string;
  holds: (task: Task, now: number) => boolean;
}

export const FILTERS: Filter[] = [
  { name: "All", value: "", holds: () => true },
  { name: "Needs attention", value: "attention", holds: needsAttention },
  { name: "Running", value: "running", holds: (task) => task.state === "running" },
  { name: "Suspended", value: "suspended", holds: (task) => task.status === "suspended" },
];

const time = (text: string | null | undefined): number => (text ? Date.parse(text) : Number.POSITIVE_INFINITY);

type Order = (one: Task, other: Task, now: number) => number;

const byName: Order = (one, other) => one.name.localeCompare(other.name, "en");

/** The sort orders: name and value in the address. Equal tasks keep the order of the service. */
export const ORDERS: { name: string; value: string; compare: Order }[] = [
  { name: "needs attention", value: "", compare: (one, other, now) => urgency(one, now) - urgency(other, now) },
  { name: "name", value: "name", compare: byName },
  { name: "next run", value: "next", compare: (one, other) => time(one.next_run) - time(other.next_run) || byName(one, other, 0) },
  { name: "oldest result", value: "age", compare: (one, other) => time(one.result?.completed) - time(other.result?.completed) || byName(one, other, 0) },
];

/** What a search finds a task by: its name, state, schedule, error, progress, and who suspended it. */
function textOf(task: Task): string {
  const { suspended, run } = task;
  const parts = [task.name, task.status, task.outcome, cadence(task.schedule), task.time_zone, task.error, task.problem];
  return [...parts, suspended?.by, suspended?.reason, run?.progress?.message, run?.last_failure?.message].filter(Boolean).join(" ");
}

/** The tasks that a filter and a search select, in an order; each by its value in the address. */
export function arranged(tasks: Task[], now: number, { show, search, sort }: { show: string; search: string; sort: string }): Task[] {
  const { holds } = FILTERS.find(({ value }) => value === show) ?? (FILTERS[0] as Filter);
  const { compare } = ORDERS.find(({ value }) => value === sort) ?? (ORDERS[0] as (typeof ORDERS)[number]);
  const matches = matcher(search);
  return tasks.filter((task) => holds(task, now) && matches(textOf(task))).toSorted((one, other) => compare(one, other, now));
}
