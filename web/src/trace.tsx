// The trace of a failed run (`shared/tasks/trace.py`): one part per exception, with its cause below it. Calls of the engine
// and of libraries are folded.
import { plural } from "./format";
import { CopyButton } from "./words";

interface Part {
  /** How this exception relates to the one above, such as "caused by"; null for the first one. */
  relation: string | null;
  /** Its type and message; null for the first one. */
  error: string | null;
  /** Depth within groups of exceptions. */
  depth: number;
  lines: string[];
}

const RELATION = /^( *)(caused by|raised while handling|\d+ of \d+:) (.*)$/;
const FOLDED = /^ *\[(engine|library)\] /;
/** A call: where it is, and its source code. */
const CALL = /^ *(\S+:\d+ in [^:]+): (.*)$/;
const INDENT = 2;

/** The exceptions of a trace. */
export function partsOf(lines: string[]): Part[] {
  const parts: Part[] = [{ relation: null, error: null, depth: 0, lines: [] }];
  for (const line of lines) {
    const [, margin = "", relation, error = ""] = RELATION.exec(line) ?? [];
    if (relation === undefined) parts.at(-1)?.lines.push(line);
    else parts.push({ relation, error, depth: margin.length / INDENT, lines: [] });
  }
  return parts;
}

/**
 * @param lines The lines of the trace.
 * @param error Type and message of the run's error, which is copied with the trace.
 */
export function Trace({ lines, error }: { lines: string[]; error: string }) {
  // A trace without any call of the task's own code is shown as a whole.
  const folds = lines.some((line) => !FOLDED.test(line) && CALL.test(line));
  return (
    <div class="traced">
      <div class="trace" role="group" tabIndex={0} aria-label="Traceback">
        {partsOf(lines).map(({ relation, error: cause, depth, lines: calls }, index) => (
          <div key={index} class={`cause depth-${Math.min(depth, MAX_DEPTH)}`}>
            {relation !== null && (
              <p dir="auto">
                <span class="quiet">{relation}</span> <b>{cause}</b>
              </p>
            )}
            {groupsOf(calls).map((group, place) =>
              folds && FOLDED.test(group[0] as string) ? (
                <details key={place}>
                  <summary>{plural(group.length, "call")} of the engine and of libraries</summary>
                  <pre>{group.map((line) => line.trimStart()).join("\n")}</pre>
                </details>
              ) : (
                <pre key={place}>{group.map(textOf).join("\n")}</pre>
              ),
            )}
          </div>
        ))}
      </div>
      <CopyButton label="Copy trace" text={() => [error, ...lines].join("\n")} />
    </div>
  );
}

const MAX_DEPTH = 3;

/** Consecutive lines that are folded together, or shown together. */
function groupsOf(lines: string[]): string[][] {
  const groups: string[][] = [];
  for (const line of lines) {
    const group = groups.at(-1);
    if (group && FOLDED.test(group[0] as string) === FOLDED.test(line)) group.push(line);
    else groups.push([line]);
  }
  return groups;
}

/** A call with its source code on a line of its own. */
function textOf(line: string): string {
  const [, place, code] = CALL.exec(line) ?? [];
  return place === undefined ? line.trimStart() : `${place}\n    ${code}`;
}
