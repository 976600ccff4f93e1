// What the timeline shows: the history of all tasks, read in pages and then only as far as it has changed.
import { call } from "../firebase";
import { serverNow } from "../live";
import type { Run, Task, TimelineAnswer, TimelineRun } from "../wire";
import { HOUR, MINUTE, PAST, type Range, joined, missing, timeText } from "./range";

/** A document of the history, or the time that it takes. */
export interface Entry {
  run: Run;
  task: string;
  /** Its start, or the tick that it is about. */
  from: number;
  /** Its end; null while it runs. */
  to: number | null;
  /** Whether it is a run, which takes time, and not a mark. */
  isRun: boolean;
}

const RUN_OUTCOMES = new Set(["completed", "failed", "cancelled", "running"]);
/** The fields that `list_timeline` leaves out. */
const NOTHING = {
  source: null, scheduled_for: null, started: null, completed: null, duration_seconds: null, attempt: null, error: null, last_failure: null,
  reason: null, by: null, until: null, holder: null, progress: null, legs: null, checkpoint: null, result: null, requested: null, refused: null, expires: null,
}; // prettier-ignore

export function entryOf(task: string, sent: TimelineRun): Entry {
  const run: Run = { ...NOTHING, ...sent };
  const isRun = RUN_OUTCOMES.has(run.outcome);
  const at = isRun ? run.started : (run.scheduled_for ?? run.started);
  const from = Date.parse(at ?? run.completed ?? "");
  return { run, task, from, to: run.outcome === "running" ? null : isRun && run.completed ? Math.max(from, Date.parse(run.completed)) : from, isRun };
}

/** The history of one task. */
export class Row {
  /** In the order of their start. */
  entries: Entry[] = [];
  /** Ticks to come. */
  ticks: number[] = [];
  private readonly byId = new Map<string, Entry>();
  private longest = 0;

  constructor(readonly task: string) {}

  put(runs: TimelineRun[]): void {
    if (runs.length === 0) return;
    for (const run of runs) this.byId.set(run.id, entryOf(this.task, run));
    this.entries = [...this.byId.values()].filter(({ from }) => !Number.isNaN(from)).sort((one, other) => one.from - other.from);
    this.longest = this.entries.reduce((longest, { from, to }) => Math.max(longest, (to ?? Infinity) - from), 0);
  }

  find(id: string): Entry | undefined {
    return this.byId.get(id);
  }

  /** The entries within a range, in the order of their start. */
  within({ from, to }: Range, now: number): Entry[] {
    const found: Entry[] = [];
    for (let index = this.firstFrom(from - this.longest); index < this.entries.length; index++) {
      const entry = this.entries[index] as Entry;
      if (entry.from > to) break;
      if ((entry.to ?? now) >= from) found.push(entry);
    }
    return found;
  }

  /** Index of the first entry that starts at a time or later. */
  firstFrom(time: number): number {
    let [low, high] = [0, this.entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.entries[middle] as Entry).from < time) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Whether a task's tick will be delivered: not while the task is suspended, nor while its Scheduler job disagrees. */
export function fires(task: Task, tick: number): boolean {
  if (task.suspended !== null) return task.suspended.until !== null && tick >= Date.parse(task.suspended.until);
  return task.problem === null;
}

/** Milliseconds after which ticks to come are read again; the service lists those of an hour more than a view has. */
const TICKS_MS = 50 * MINUTE;

export class TimelineHistory {
  private readonly rows = new Map<string, Row>();
  loading = false;
  /** The times of which everything has been read, in their order. */
  private read: Range[] = [];
  private wanted: Range = { from: Infinity, to: -Infinity };
  private asOf: string | null = null;
  private ticksAt = 0;
  private revision = 0;
  private stopped = false;

  /** @param changed Called when more has been read. */
  constructor(private readonly changed: () => void) {}

  row(task: string): Row {
    const row = this.rows.get(task) ?? new Row(task);
    this.rows.set(task, row);
    return row;
  }

  /** Have a range read with the next update. */
  want({ from, to }: Range): void {
    // Of a range in the future, only its ticks are read, and the service refuses one that begins there.
    this.wanted = { from: Math.min(Math.max(from, serverNow() - PAST), serverNow() - MINUTE), to: to < serverNow() ? to : Infinity };
  }

  get isMissing(): boolean {
    return this.missing.length > 0;
  }

  /** Whether everything in a range has been read, or is too old to be. */
  hasRead({ from, to }: Range): boolean {
    return missing({ from: Math.max(from, serverNow() - PAST), to }, this.read).length === 0;
  }

  stop(): void {
    this.stopped = true;
  }

  /** Read what is missing, and what has changed. */
  async update(): Promise<{ version: string }> {
    try {
      if (this.asOf !== null) await this.readChanges(this.asOf);
      if (Date.now() - this.ticksAt > TICKS_MS && this.asOf !== null) await this.readRange({ from: serverNow() - HOUR, to: Infinity });
      for (let part = this.missing.at(-1); part && !this.stopped; part = this.missing.at(-1)) await this.readRange(part);
    } finally {
      this.loading = false;
    }
    return { version: String(this.revision) };
  }

  private get missing(): Range[] {
    return missing(this.wanted, this.read);
  }

  private async readRange(part: Range): Promise<void> {
    this.loading = true;
    this.changed();
    const from = Math.max(part.from, serverNow() - PAST); // some time may have passed since it was wanted
    const range = { since: timeText(from), until: timeText(Math.min(part.to, from + PAST)) }; // the service accepts no more
    let answer = await call<TimelineAnswer>("list_timeline", range);
    const first = answer;
    for (;;) {
      this.put(answer);
      const cursors = Object.fromEntries(answer.tasks.flatMap(({ name, next_cursor }) => (next_cursor ? [[name, next_cursor]] : [])));
      if (this.stopped || Object.keys(cursors).length === 0) break;
      answer = await call<TimelineAnswer>("list_timeline", { ...range, cursors });
    }
    this.asOf ??= first.as_of; // the first page's, because newer runs than those of a page may have come meanwhile
    this.read = joined(this.read, part);
    this.ticksAt = Date.now();
  }

  private async readChanges(asOf: string): Promise<void> {
    const since = timeText(serverNow() - PAST + HOUR);
    let answer: TimelineAnswer;
    do {
      answer = await call<TimelineAnswer>("list_timeline", { since, changed_since: asOf });
      this.put(answer);
      this.asOf = asOf = answer.as_of;
    } while (answer.more && !this.stopped);
  }

  private put(answer: TimelineAnswer): void {
    for (const { name, runs, ticks } of answer.tasks) {
      const row = this.row(name);
      row.put(runs);
      if (ticks) row.ticks = ticks.map((tick) => Date.parse(tick));
    }
    if (answer.tasks.length > 0) {
      this.revision += 1;
      this.changed();
    }
  }
}
