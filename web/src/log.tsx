// The log of a run: its last lines, live while it works, with search and copy. Loaded when it is first shown.
import "./log.css";
import { Fragment } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { logsUrl } from "./cloud-logging";
import { deployedProject } from "./firebase";
import { fullTime, plural, zoneText } from "./format";
import { serverNow } from "./live";
import { matcher } from "./search";
import type { LogLine, Run, RunLog } from "./wire";
import { CopyButton } from "./words";

const LEVELS = ["info", "warning", "error"] as const;
/** The filters by level: the name of each, and the lowest level that it shows. */
const FILTERS: [name: string, lowest: number][] = [
  ["All levels", 0],
  ["Warnings and errors", 1],
  ["Errors", 2],
];
/** Pixels from the end within which new lines scroll into view. */
const NEAR_END = 40;

interface Props {
  task: string;
  run: Run;
  log: RunLog;
}

export function Log({ task, run, log: { lines, lost: dropped, lost_is_exact: isExact } }: Props) {
  const [search, setSearch] = useState("");
  const [lowest, setLowest] = useState(0);
  const matches = matcher(search);
  const filtered = search.trim() !== "" || lowest > 0;
  const shown = lines.filter(({ level, text }) => LEVELS.indexOf(level) >= lowest && matches(`${level} ${text}`));
  const atWork = run.state === "running";
  const project = deployedProject();
  const url = project === null ? null : logsUrl(project, task, run);
  const clear = (): void => {
    setSearch("");
    setLowest(0);
  };
  return (
    <section class="log" aria-label="Log">
      <div class="bar">
        <h3>Log</h3>
        {lines.length > 0 && (
          <>
            <label class="search">
              <span class="hidden">Search the log</span>
              <input type="search" placeholder='Words, or "a phrase"' value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
            </label>
            <label>
              <span class="hidden">Levels</span>
              <select value={lowest} onChange={(event) => setLowest(Number(event.currentTarget.value))}>
                {FILTERS.map(([name, level]) => (
                  <option key={level} value={level}>
                    {name}
                  </option>
                ))}
              </select>
            </label>
            <p role="status" class="quiet">
              {filtered ? `${shown.length} of ${plural(lines.length, "line")}` : plural(lines.length, "line")}
              {atWork && ", live"}
            </p>
            <CopyButton label="Copy log" text={() => shown.map(copied).join("\n")} />
          </>
        )}
        {url !== null && (
          <a href={url} target="_blank" rel="noreferrer">
            All lines in Cloud Logging
          </a>
        )}
      </div>
      {lines.length === 0 && <p class="quiet">{atWork ? "The task has logged nothing yet." : "The task logged nothing."}</p>}
      {(dropped > 0 || !isExact) && <p class="quiet">{droppedText(dropped, isExact)}</p>}
      {lines.length > 0 && shown.length === 0 && (
        <p>
          No line matches the search and the levels. <button onClick={clear}>Show all lines</button>
        </p>
      )}
      {shown.length > 0 && <Lines lines={shown} all={!filtered} dropped={dropped} />}
      {lines.length > 0 && (
        <p class="quiet zone">
          Times are {zoneText((lines.at(-1) as LogLine).at)}.
        </p>
      )}
    </section>
  );
}

/** The lines, scrolled to the end, where new ones appear, unless the viewer has scrolled up. */
function Lines({ lines, all, dropped }: { lines: LogLine[]; all: boolean; dropped: number }) {
  const box = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    if (box.current && atEnd.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines.length, lines.at(-1)?.at]);
  const scrolled = ({ currentTarget: { scrollTop, scrollHeight, clientHeight } }: { currentTarget: HTMLElement }): void => {
    atEnd.current = scrollHeight - scrollTop - clientHeight < NEAR_END;
  };
  const missing = all ? missingBefore(lines, dropped) : [];
  return (
    <div ref={box} class="lines" role="log" tabIndex={0} aria-label="Lines of the log, oldest first" onScroll={scrolled}>
      {lines.map((line, index) => {
        const before = lines[index - 1];
        return (
          <Fragment key={`${line.attempt} ${line.leg} ${line.number}`}>
            {legOf(line) !== (before ? legOf(before) : "attempt 1") && <p class="part">{legOf(line)}</p>}
            {(missing[index] ?? 0) > 0 && <p class="part">{plural(missing[index] as number, "line")} not kept</p>}
            <p data-level={line.level}>
              <time dateTime={line.at} title={fullTime(line.at)}>
                {clockOf(line.at)}
              </time>{" "}
              <b class="level">{line.level}</b> <span dir="auto">{line.text}</span>
            </p>
          </Fragment>
        );
      })}
    </div>
  );
}

const legOf = ({ attempt, leg }: LogLine): string => (leg > 1 ? `attempt ${attempt}, leg ${leg}` : `attempt ${attempt}`);

function droppedText(dropped: number, isExact: boolean): string {
  const kept = "A run keeps its last lines.";
  if (dropped === 0) return `Earlier attempts may have logged lines that are not shown. ${kept}`;
  return `${isExact ? "" : "At least "}${plural(dropped, "earlier line")} ${dropped === 1 ? "is" : "are"} not kept. ${kept}`;
}

/** How many lines are missing before each line: a gap in the numbers of a leg, and before the first line all others. */
function missingBefore(lines: LogLine[], dropped: number): number[] {
  const gaps = lines.map((line, index) => {
    const before = lines[index - 1];
    return line.number - 1 - (before && legOf(before) === legOf(line) ? before.number : 0);
  });
  gaps[0] = dropped - gaps.slice(1).reduce((sum, gap) => sum + gap, 0);
  return gaps;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

/** Time of day with milliseconds, and the date unless it is today's. */
function clockOf(time: string): string {
  const at = new Date(time);
  return DAY.format(at) === DAY.format(serverNow()) ? CLOCK.format(at) : `${DAY.format(at)}, ${CLOCK.format(at)}`;
}

const copied = ({ at, level, text }: LogLine): string => `${at} ${level.toUpperCase()} ${text}`;
