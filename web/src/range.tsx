// A time range in the address: one of the last hours or days, or a start and an end.
import { zoneAt } from "./format";
import { serverNow } from "./live";
import { goQuery, usePlace, useTypedParam } from "./router";

const HOUR_MS = 3_600_000;

const SPANS: { name: string; value: string; milliseconds: number }[] = [
  { name: "Last hour", value: "1h", milliseconds: HOUR_MS },
  { name: "Last 24 hours", value: "24h", milliseconds: 24 * HOUR_MS },
  { name: "Last 7 days", value: "7d", milliseconds: 7 * 24 * HOUR_MS },
];
const BETWEEN = "between";

interface Range {
  /** Start and end, RFC 3339 in UTC; null if the range is open there. */
  start: string | null;
  end: string | null;
  /** Why the range is invalid. */
  problem?: string;
}

/**
 * @param span Value of one of the spans; otherwise `from` and `to` apply, RFC 3339 or "".
 * @param now The present, in milliseconds.
 */
export function rangeOf(span: string, from: string, to: string, now: number): Range {
  const last = SPANS.find(({ value }) => value === span);
  if (last) return { start: new Date(now - last.milliseconds).toISOString(), end: null };
  const [start, end] = [from, to].map((text) => (Number.isNaN(Date.parse(text)) ? null : new Date(text).toISOString())) as [string | null, string | null];
  if (start && end && start >= end) return { start, end, problem: "The start of the time range must be before its end." };
  return { start, end };
}

/** A time as the value of an input of the type datetime-local, in the viewer's time zone. */
export function localValue(time: string | number): string {
  const date = new Date(time);
  const local = new Date(date.getTime() - date.getTimezoneOffset() * 60_000);
  return Number.isNaN(local.getTime()) ? "" : local.toISOString().slice(0, 16);
}

/** The time in RFC 3339 that an input of the type datetime-local has; "" if it is empty or no valid date. */
export function timeOfLocal(value: string): string {
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString();
}

/** The first and the last time that an input takes; while a year is typed, its value is an earlier one. */
export const [FIRST_LOCAL, LAST_LOCAL] = ["1970-01-01T00:00", "9999-12-31T23:59"];

export function RangeFields() {
  const { query } = usePlace();
  const [from, to] = [query.get("from") ?? "", query.get("to") ?? ""];
  const isBetween = query.get("range") === BETWEEN || from !== "" || to !== "";
  const span = SPANS.find(({ value }) => value === query.get("range"))?.value ?? (isBetween ? BETWEEN : "");
  const choose = (value: string): void => {
    if (value === BETWEEN) goQuery({ range: BETWEEN, from: new Date(serverNow() - 24 * HOUR_MS).toISOString(), to: "" });
    else goQuery({ range: value, from: "", to: "" });
  };
  return (
    <>
      <select aria-label="Time range" value={span} onChange={(event) => choose(event.currentTarget.value)}>
        <option value="">Any time</option>
        {SPANS.map(({ name, value }) => (
          <option key={value} value={value}>
            {name}
          </option>
        ))}
        <option value={BETWEEN}>Between two times</option>
      </select>
      {span === BETWEEN && (
        <>
          <TimeField param="from" label="From" />
          <TimeField param="to" label="To" />
        </>
      )}
    </>
  );
}

/** A time in the query of the address. The address has it once it is complete. */
function TimeField({ param, label }: { param: string; label: string }) {
  const [text, type] = useTypedParam(param, localValue);
  const time = timeOfLocal(text) || new Date(serverNow()).toISOString();
  return (
    <label class="inline">
      {label} ({zoneAt(time)})
      <input
        type="datetime-local"
        min={FIRST_LOCAL}
        max={LAST_LOCAL}
        value={text}
        onInput={({ currentTarget: { value, validity } }) => type(value, validity.valid ? timeOfLocal(value) : null)}
      />
    </label>
  );
}
