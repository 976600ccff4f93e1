// Small components that several views share.
import { type ComponentChildren, Fragment } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ROUNDED, clock, exact, fullTime, grouped, isRounded, tone, word } from "./format";
import type { Json } from "./wire";

/** A state as word, colour and shape: each of the three is enough to recognise it. */
export function StateWord({ state, children }: { state: string | null; children?: ComponentChildren }) {
  return (
    <span class={`state ${tone(state)}`} data-state={state ?? "never"}>
      <span class="mark" aria-hidden="true" />
      {children ?? word(state)}
    </span>
  );
}

export function Time({ at, now, seconds }: { at: string; now: number; seconds?: boolean }) {
  return (
    <time dateTime={at} title={fullTime(at)}>
      {clock(at, now, seconds)}
    </time>
  );
}

export function Notice({ tone: kind, children }: { tone: "bad" | "warn" | "info"; children: ComponentChildren }) {
  return (
    <div class={`notice ${kind}`} role={kind === "bad" ? "alert" : undefined}>
      {children}
    </div>
  );
}

const COPIED_MS = 3000;

/** A button that copies a text to the clipboard and reports whether it did. */
export function CopyButton({ label, text }: { label: string; text: () => string }) {
  const [outcome, setOutcome] = useState("");
  useEffect(() => {
    if (outcome === "") return;
    const timer = setTimeout(() => setOutcome(""), COPIED_MS);
    return () => clearTimeout(timer);
  }, [outcome]);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text());
      setOutcome("Copied.");
    } catch {
      setOutcome("The browser did not allow it. Select the text and copy it.");
    }
  };
  return (
    <span class="copy">
      <button onClick={() => void copy()}>{label}</button>{" "}
      <span class="quiet" role="status">
        {outcome}
      </span>
    </span>
  );
}

/** A task's name; lines break only after its underscores. */
export function Name({ of: name }: { of: string }) {
  return (
    <>
      {name.split(/(?<=_)/).map((part, index) => (
        <Fragment key={index}>
          {part}
          <wbr />
        </Fragment>
      ))}
    </>
  );
}

type Fields = { [name: string]: Json };

const isMap = (value: Json): value is Fields => typeof value === "object" && value !== null && !Array.isArray(value);
const isEmptyMap = (value: Json): boolean => isMap(value) && Object.keys(value).length === 0;
const isScalar = (value: Json): boolean => typeof value !== "object" || value === null;
const label = (name: string): string => name.replaceAll("_", " ");

/**
 * A summary: scalars on one line, maps below their names, lists of maps as tables.
 *
 * @param folded Whether lists and nested maps are collapsed at first. Scalars stay visible, also those of a map.
 */
export function Facts({ value, folded }: { value: Json; folded?: boolean }) {
  if (isScalar(value)) return <Scalar value={value} />;
  if (Array.isArray(value)) return <List items={value} />;
  const fields = Object.entries(value as Fields).filter(([, inner]) => !isEmptyMap(inner));
  const flat = fields.filter(([, inner]) => isScalar(inner));
  const hasScalars = (inner: Json) => isMap(inner) && Object.values(inner).some(isScalar);
  const open = fields.filter(([, inner]) => folded && hasScalars(inner));
  const deep = fields.filter(([, inner]) => !isScalar(inner) && !(folded && hasScalars(inner)));
  const listed = (kind: string, some: [string, Json][], foldedInside = false) => (
    <dl class={kind}>
      {some.map(([name, inner]) => (
        <div key={name}>
          <dt dir="auto">{label(name)}</dt>
          <dd>
            <Facts value={inner} folded={foldedInside} />
          </dd>
        </div>
      ))}
    </dl>
  );
  return (
    <>
      {flat.length > 0 && listed("facts", flat)}
      {open.length > 0 && listed("deep", open, true)}
      {deep.length > 0 &&
        (folded ? (
          <details>
            <summary>{deep.map(([name]) => label(name)).join(", ")}</summary>
            {listed("deep", deep)}
          </details>
        ) : (
          listed("deep", deep)
        ))}
    </>
  );
}

function Scalar({ value }: { value: Json }) {
  if (value === null) return <span class="quiet">none</span>;
  if (typeof value === "number") return isRounded(value) ? <span title={ROUNDED}>{exact(value)}</span> : <>{grouped(value)}</>;
  return <bdi>{String(value)}</bdi>;
}

function List({ items }: { items: Json[] }) {
  if (items.length === 0) return <span class="quiet">none</span>;
  if (items.every(isScalar)) return <bdi>{items.map((item) => (typeof item === "number" ? grouped(item) : exact(item))).join(", ")}</bdi>;
  if (!items.every(isMap)) {
    return (
      <ol>
        {items.map((item, index) => (
          <li key={index}>
            <Facts value={item} />
          </li>
        ))}
      </ol>
    );
  }
  const names = [...new Set(items.flatMap((item) => Object.keys(item as Fields)))];
  return (
    <div class="wide" tabIndex={0} role="group" aria-label="Table">
      <table>
        <thead>
          <tr>
            {names.map((name) => (
              <th key={name} scope="col">
                {label(name)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {(items as Fields[]).map((item, index) => (
            <tr key={index}>
              {names.map((name) => (
                <td key={name}>
                  <Facts value={item[name] ?? null} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
