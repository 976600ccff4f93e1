// The entries of the timeline in words: the hint beside the pointer, the text for screen readers, and the table.
import { useState } from "preact/hooks";
import { clock, duration, number, plural, tone, word } from "../format";
import { Link, runPath, taskPath } from "../router";
import { remark } from "../strip";
import { Name, StateWord, Time } from "../words";
import type { Entry } from "./data";
import type { Lane } from "./paint";
import type { Range } from "./range";

/** When an entry was, how long it took, and why. */
function facts({ run, from, to }: Entry, now: number): string[] {
  const took = run.duration_seconds ?? ((to ?? now) - from) / 1000;
  return [
    clock(from, now, true),
    took > 0 ? (to === null ? `for ${duration(took)}` : duration(took)) : "",
    (run.attempt ?? 1) > 1 ? `attempt ${run.attempt}` : "",
    run.requested ? `requested by ${run.requested.by}` : "",
  ].filter((fact) => fact !== "");
}

export const entryText = (entry: Entry, now: number): string =>
  [entry.task, word(entry.run.outcome), ...facts(entry, now), remark(entry.run)].filter((part) => part !== "").join(", ");

interface HintProps {
  entry: Entry;
  now: number;
  /** Where the entry is in the plot, and how wide that is, in pixels. */
  place: { left: number; width: number; top: number };
}

/** Width in pixels below which a hint beside its entry would not fit. */
const NARROW = 800;

export function EntryHint({ entry, now, place: { left, width, top } }: HintProps) {
  const side = width < NARROW ? { left: "0.5rem" } : left < width / 2 ? { left: `${left}px` } : { right: `${width - left}px` };
  return (
    <div class="hint" aria-hidden="true" style={{ ...side, top: `${top}px` }}>
      <span class={`state ${tone(entry.run.outcome)}`}>
        <span class="mark" />
        {word(entry.run.outcome)}
      </span>{" "}
      {facts(entry, now).join(" · ")}
      {remark(entry.run) && <span class="remark">{remark(entry.run)}</span>}
    </div>
  );
}

const PART = 200;

/** The entries of a range as a table, newest first, and how many ticks each task still has in it. */
export function Table({ lanes, range, now }: { lanes: Lane[]; range: Range; now: number }) {
  const [most, setMost] = useState(PART);
  const entries = lanes.flatMap(({ row }) => row.within(range, now)).sort((one, other) => other.from - one.from);
  return (
    <>
      <div class="wide" tabIndex={0} role="group" aria-label="Table of entries">
        <table>
          <Head names={["Task", "Outcome", "Start", "End", "Duration", "Details"]} />
          <tbody>
            {entries.slice(0, most).map((entry) => (
              <TableRow key={`${entry.task} ${entry.run.id}`} entry={entry} now={now} />
            ))}
          </tbody>
        </table>
      </div>
      {entries.length > most && (
        <p>
          <button onClick={() => setMost(most + PART)}>Show more</button>{" "}
          <span class="quiet">
            {number(most)} of {plural(entries.length, "entry", "entries")}
          </span>
        </p>
      )}
      <h2>Ticks to come</h2>
      <div class="wide" tabIndex={0} role="group" aria-label="Table of ticks to come">
        <table>
          <Head names={["Task", "Next ticks", "In this range"]} />
          <tbody>
            {lanes.map((lane) => (
              <Ticks key={lane.row.task} lane={lane} range={range} now={now} />
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}

function Head({ names }: { names: string[] }) {
  return (
    <thead>
      <tr>
        {names.map((name) => (
          <th key={name} scope="col">
            {name}
          </th>
        ))}
      </tr>
    </thead>
  );
}

function TableRow({ entry: { run, task, from, to, isRun }, now }: { entry: Entry; now: number }) {
  return (
    <tr>
      <td>
        <Name of={task} />
      </td>
      <td>
        <Link to={runPath(task, run.id)}>
          <StateWord state={run.outcome} />
        </Link>
      </td>
      <td>
        <Time at={new Date(from).toISOString()} now={now} seconds />
      </td>
      <td>{isRun && to !== null && <Time at={new Date(to).toISOString()} now={now} seconds />}</td>
      <td>{run.duration_seconds !== null && duration(run.duration_seconds)}</td>
      <td dir="auto">
        {(run.attempt ?? 1) > 1 && `attempt ${run.attempt} `}
        {run.requested && `requested by ${run.requested.by} `}
        {remark(run)}
      </td>
    </tr>
  );
}

const NEXT = 3;

function Ticks({ lane: { row, fires, suspended }, range, now }: { lane: Lane; range: Range; now: number }) {
  const coming = row.ticks.filter((tick) => tick > now && fires(tick));
  const next = coming.slice(0, NEXT).map((tick) => clock(tick, now));
  return (
    <tr>
      <td>
        <Link to={taskPath(row.task)}>
          <Name of={row.task} />
        </Link>
      </td>
      <td>{next.join(", ") || (suspended ? "None while suspended" : "None")}</td>
      <td>{number(coming.filter((tick) => tick >= range.from && tick <= range.to).length)}</td>
    </tr>
  );
}
