// The trace of a failed run.
import { plural } from "./format";

/** Matches lines of a traceback for calls of the engine or of a library (`shared/tasks/trace.py`). */
const FOLDED = /^ *\[(engine|library)\] /;

/** A traceback; calls of the engine and of libraries are folded, unless there are no others. */
export function Trace({ lines }: { lines: string[] }) {
  const groups: string[][] = [];
  for (const line of lines) {
    const group = groups.at(-1);
    if (group && FOLDED.test(group[0] as string) === FOLDED.test(line)) group.push(line);
    else groups.push([line]);
  }
  return (
    <div class="trace" role="group" tabIndex={0} aria-label="Traceback">
      {groups.map((group, index) =>
        FOLDED.test(group[0] as string) && groups.length > 1 ? (
          <details key={index}>
            <summary>{plural(group.length, "call")} of the engine and of libraries</summary>
            <pre>{group.join("\n")}</pre>
          </details>
        ) : (
          <pre key={index}>{group.join("\n")}</pre>
        ),
      )}
    </div>
  );
}
