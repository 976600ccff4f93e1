// The last runs of a task as bars: the height is the duration, the colour and the foot are the outcome. The pointer
// or the arrow keys select a bar and show its details; a click or Enter opens the run.
import { useState } from "preact/hooks";
import { actorText, clock, duration, errorText, failureText, plural, tone, word } from "./format";
import { goRun } from "./router";
import type { Run } from "./wire";

export const STRIP_RUNS = 50;

interface Props {
  task: string;
  /** Newest first. */
  runs: Run[];
  now: number;
}

export function Strip({ task, runs, now }: Props) {
  const [chosen, choose] = useState<number | null>(null);
  const shown = runs.slice(0, STRIP_RUNS).reverse();
  const longest = Math.max(0, ...shown.map((run) => run.duration_seconds ?? 0));
  const active = chosen !== null && chosen < shown.length ? shown[chosen] : undefined;
  const keys = (event: KeyboardEvent): void => {
    const last = shown.length - 1;
    const at = chosen ?? last + 1;
    const moves: Record<string, number> = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last };
    const move = moves[event.key];
    if (move !== undefined) choose(Math.min(last, Math.max(0, move)));
    else if (event.key === "Enter" && active) goRun(task, active.id);
    else if (event.key === "Escape") choose(null);
    else return;
    event.preventDefault();
  };
  if (shown.length === 0) return <p class="strip empty quiet">No runs yet</p>;
  return (
    <div class="strip" onMouseLeave={() => choose(null)}>
      <div
        class="bars"
        role="listbox"
        tabIndex={0}
        aria-label={`Last ${shown.length} entries in the history of ${task}, oldest first`}
        aria-orientation="horizontal"
        aria-activedescendant={active && `${task}-bar-${chosen}`}
        onKeyDown={keys}
        onFocus={(event) => event.currentTarget.matches(":focus-visible") && chosen === null && choose(shown.length - 1)}
        onBlur={() => choose(null)}
      >
        {shown.map((run, index) => (
          <span
            key={run.id}
            id={`${task}-bar-${index}`}
            role="option"
            aria-selected={index === chosen}
            aria-label={label(run, now)}
            class={`bar ${tone(run.outcome)} ${run.duration_seconds === null && run.state !== "running" ? "instant" : ""}`}
            onMouseEnter={() => choose(index)}
            onClick={() => goRun(task, run.id)}
          >
            <b style={{ height: `${height(run, longest)}%` }} />
          </span>
        ))}
      </div>
      <p class="scale quiet" aria-hidden="true">
        {longest > 0 && `longest ${duration(longest)}`}
      </p>
      {active && (
        <div class={`hint ${(chosen as number) + STRIP_RUNS - shown.length < STRIP_RUNS / 2 ? "left" : "right"}`} aria-hidden="true">
          <span class={`state ${tone(active.outcome)}`}>
            <span class="mark" />
            {word(active.outcome)}
          </span>{" "}
          {time(active) && clock(time(active) as string, now, true)}
          {active.duration_seconds !== null && ` · ${duration(active.duration_seconds)}`}
          {(active.attempt ?? 1) > 1 && ` · attempt ${active.attempt}`}
          {explanation(active) && <span class="remark">{explanation(active)}</span>}
        </div>
      )}
    </div>
  );
}

const time = (run: Run): string | null => run.started ?? run.completed ?? run.scheduled_for;

/** How many deliveries of a run were refused, why, and when the next one comes. */
export function refusal({ count, reason, at, again }: NonNullable<Run["refused"]>): string {
  const next = again === null ? "no further delivery" : `next delivery after ${clock(again, Date.parse(at), true)}`;
  return `${plural(count, "delivery", "deliveries")} refused: ${reason}; ${next}`;
}

/** The reason for a run's outcome, on one line. */
export function remark(run: Run): string {
  if (run.error) return errorText(run.error.type, run.error.message);
  if (run.last_failure) return failureText(run.last_failure);
  if (run.refused) return refusal(run.refused);
  if (run.by) return `by ${actorText(run)}`;
  return run.reason ?? "";
}

/** The reason for a run's outcome, or who requested the run and why. */
const explanation = (run: Run): string => remark(run) || (run.requested ? `requested by ${actorText(run.requested)}` : "");

function label(run: Run, now: number): string {
  const at = time(run);
  const took = run.duration_seconds === null ? "" : `, ${duration(run.duration_seconds)}`;
  return `${word(run.outcome)}${at ? `, ${clock(at, now)}` : ""}${took}${explanation(run) ? `, ${explanation(run)}` : ""}`;
}

function height(run: Run, longest: number): number {
  if (run.state === "running") return 100;
  if (run.duration_seconds === null || longest === 0) return 12;
  return Math.max(8, (100 * run.duration_seconds) / longest);
}
