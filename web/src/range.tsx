// A time range in the address: one of the last hours or days, or a start and an end.
import { goQuery, usePlace } from "./router";
import { serverNow } from "./live";

const HOUR_MS = 3_600_000;

const SPANS: { name: string; value: string; milliseconds: number }[] = [
  { name: "Last hour", value: "1h", milliseconds: HOUR_MS },
  { name: "Last 24 hours", value: "24h", milliseconds: 24 * HOUR_MS },
  { name: "Last 7 days", value: "7d", milliseconds: 7 * 24 * HOUR_MS },
];
const BETWEEN = "between";

interface Range {
  /** Start and end, RFC 3339 in UTC; null if the range is open there. */
  since: string | null;
  until: string | null;
  /** Why the range is invalid. */
  problem?: string;
}

/**
 * @param span Value of one of the spans; otherwise `from` and `to` apply, RFC 3339 or "".
 * @param now The present, in milliseconds.
 */
export function rangeOf(span: string, from: string, to: string, now: number): Range {
  const last = SPANS.find(({ value }) => value === span);
  if (last) return { since: new Date(now - last.milliseconds).toISOString(), until: null };
  const [since, until] = [from, to].map((text) => (Number.isNaN(Date.parse(text)) ? null : new Date(text).toISOString())) as [string | null, string | null];
  if (since && until && since >= until) return { since, until, problem: "The start of the time range must be before its end." };
  return { since, until };
}

/** A time as the value of an input of the type datetime-local, in the viewer's time zone. */
export function localValue(time: string | number): string {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "";
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

/** The time in RFC 3339 that an input of the type datetime-local has; "" if it is empty. */
export const timeOfLocal = (value: string): string => (value === "" ? "" : new Date(value).toISOString());

export function RangeFields() {
  const { query } = usePlace();
  const [from, to] = [query.get("from") ?? "", query.get("to") ?? ""];
  const span = SPANS.find(({ value }) => value === query.get("range"))?.value ?? (from || to ? BETWEEN : "");
  const choose = (value: string): void => {
    if (value === BETWEEN) goQuery({ range: "", from: new Date(serverNow() - 24 * HOUR_MS).toISOString(), to: "" });
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
          <label class="inline">
            From
            <input type="datetime-local" value={localValue(from)} onChange={(event) => goQuery({ from: timeOfLocal(event.currentTarget.value) })} />
          </label>
          <label class="inline">
            To
            <input type="datetime-local" value={localValue(to)} onChange={(event) => goQuery({ to: timeOfLocal(event.currentTarget.value) })} />
          </label>
        </>
      )}
    </>
  );
}
