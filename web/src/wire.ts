// The callables' responses, field by field. Times are RFC 3339 in UTC.

export type State = "running" | "completed" | "failed";

/** How a run ended, or "running". An operator's cancel is an outcome of its own, whose state is "failed". */
export type Outcome = State | "cancelled";

/** The next attempt of a run that failed. */
export interface NextAttempt {
  /** In a long run, the attempts since the last checkpoint are counted. */
  number: number;
  of: number;
  /** Earliest time; null if it is not known, because the process of the attempt before died. */
  at: string | null;
}

export interface Progress {
  done: number;
  total: number | null;
  message: string | null;
  at: string;
}

/** Who acted, why, and when. Callers without a role receive "an operator" and no reason. */
export interface Actor {
  by: string;
  reason: string;
  at: string;
}

/** Where a long run is. */
export interface Legs {
  number: number;
  deadline: string;
  /** Attempts since the last checkpoint. */
  tries: number;
  /** Duration of the task's work in all ended attempts. */
  worked_seconds: number;
  /** Since when the run waits for its next leg, and by when it should be delivered; null while a leg works. */
  waiting_since: string | null;
  expected_by: string | null;
}

/** What a run has persisted. */
export interface Checkpoint {
  steps: number;
  parts: number;
  /** Positions of cursors as JSON; empty in lists of runs. */
  positions: { [cursor: string]: string };
}

export interface Failure {
  type: string | null;
  message: string | null;
  traceback?: string | null;
}

export interface Result {
  version: string;
  run_id?: string | null;
  completed?: string | null;
  saved_in: string | null;
  size_bytes: number | null;
  count: number | null;
  summary?: Json;
}

export interface Task {
  name: string;
  schedule: string | null;
  time_zone: string;
  next_run: string | null;
  /** The last ticks of the schedule, newest first. */
  recent_ticks: string[];
  deadline_seconds: number;
  save_in: string | null;
  max_age_seconds: number;
  /** Whether this caller may read the result. */
  readable: boolean;
  status: State | "suspended" | null;
  /** State of the last run, also while the task is suspended. */
  state: State | null;
  outcome: Outcome | null;
  source: string | null;
  started: string | null;
  completed: string | null;
  error: string | null;
  run: {
    id: string;
    attempt: number;
    started: string | null;
    lease_until: string | null;
    progress: Progress | null;
    legs: Legs | null;
    checkpoint: Checkpoint | null;
    /** Failure of a leg that is tried again. */
    last_failure: Failure | null;
    cancel: Actor | null;
  } | null;
  /** Who requested the last run; null if it was not requested. */
  requested: Actor | null;
  /** The failed run that may be retried, and who stopped its retries. */
  retries: { id: string; until: string; cancel: Actor | null } | null;
  /** The next attempt of the last run, while it failed and will be tried again. */
  next_attempt: NextAttempt | null;
  /** Until when: null if an operator must resume the task. */
  suspended: (Actor & { until: string | null }) | null;
  result: Result | null;
  /** Describes a change that was not completed. */
  problem: string | null;
}

export interface Run {
  id: string;
  state: string;
  /** The state, or "cancelled" for a run that an operator cancelled. */
  outcome: string;
  source: string | null;
  scheduled_for: string | null;
  started: string | null;
  completed: string | null;
  duration_seconds: number | null;
  attempt: number | null;
  error: Failure | null;
  /** Failure of a leg that is tried again. */
  last_failure: Failure | null;
  reason: string | null;
  by: string | null;
  /** For a suspension, when the watchdog resumes the task. */
  until: string | null;
  /** For a skip, the run that held the task. */
  holder: string | null;
  progress: Progress | null;
  legs: Legs | null;
  checkpoint: Checkpoint | null;
  result: Result | null;
  /** Who requested the run; null if it was not requested. */
  requested: Actor | null;
  /** Deliveries of the run that were refused with 503, and the earliest time of the next one. */
  refused: { count: number; reason: string; at: string; again: string | null } | null;
  /** The next attempt while the run failed and will be tried again; only `get_run` returns it. */
  next_attempt?: NextAttempt | null;
  /** Why a failed run is not tried again; only `get_run` returns it. */
  not_retried?: string | null;
  /** When a request expires without a delivery; null once its run has started. */
  expires: string | null;
  /** Only of a single run that has started, and null for callers who may not see it. */
  log?: RunLog | null;
}

/** A single run. */
export type RunAnswer = Run & { version: string };

/** The last lines that a run's task logged. */
export interface RunLog {
  /** Oldest first. */
  lines: LogLine[];
  /** Number of earlier lines that are not kept. */
  lost: number;
  /** Whether there are no others, of attempts whose logs were not read. */
  lost_is_exact: boolean;
}

export interface LogLine {
  attempt: number;
  leg: number;
  /** Number of the line in its leg of the attempt, from 1; dropped lines are counted. */
  number: number;
  at: string;
  level: "info" | "warning" | "error";
  text: string;
}

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface TaskList {
  version: string;
  now: string;
  tasks: Task[];
}

export interface RunPage {
  version: string;
  runs: Run[];
  next_cursor: string | null;
}

/** A run in a timeline: fields of `Run`, without those that are null. */
export type TimelineRun = Pick<Run, "id" | "state" | "outcome"> & Partial<Run>;

export interface TimelineAnswer {
  now: string;
  /** The `changed_since` of the next request. */
  as_of: string;
  /** Whether there are more changes than the answer has. */
  more?: boolean;
  /** The first page has ticks to come. */
  tasks: { name: string; runs: TimelineRun[]; ticks?: string[]; next_cursor?: string | null }[];
}

export type Unmodified = { version: string; now?: string; not_modified: true };

export interface TaskData {
  version: string | null;
  completed: string | null;
  stale: boolean;
  data: Json;
}
