// Charts of the duration and result size of a task's runs. Loaded when a task is first shown, because of uPlot's size.
import "uplot/dist/uPlot.min.css";
import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { duration, plural, size } from "./format";
import { median } from "./stats";
import { colour, onColours } from "./theme";
import type { Run } from "./wire";

type Points = (number | null)[];

interface Line {
  label: string;
  colour: string;
  values: Points;
  /** Whether to draw points without a line. */
  marks?: boolean;
}

interface Props {
  /** Newest first, completed, failed and cancelled ones. */
  runs: Run[];
  /** Usual duration of a run, seconds, as the overview shows it. */
  usual: number | null;
}

export function Charts({ runs, usual }: Props) {
  const timed = runs.filter((run) => run.started !== null).toReversed();
  if (timed.length < 2) return <p class="charts quiet">Charts appear after the second run.</p>;
  const times = timed.map((run) => Date.parse(run.started as string) / 1000);
  const took = (state: string): Points => timed.map((run) => (run.outcome === state ? run.duration_seconds : null));
  const sizes = timed.map((run) => run.result?.size_bytes ?? null);
  return (
    <div class="charts">
      <Figure
        title="Duration"
        summary={range(timed.map((run) => run.duration_seconds), duration, usual)}
        times={times}
        lines={[
          { label: "completed", colour: "ok", values: took("completed") },
          { label: "failed", colour: "bad", values: took("failed"), marks: true },
          { label: "cancelled", colour: "cancel", values: took("cancelled"), marks: true },
        ]}
        unit={duration}
      />
      {sizes.some((bytes) => bytes !== null) && (
        <Figure title="Result size" summary={range(sizes, size, median(sizes.filter((bytes) => bytes !== null)))} times={times} lines={[{ label: "size", colour: "run", values: sizes }]} unit={size} />
      )}
    </div>
  );
}

function range(values: Points, unit: (value: number) => string, usual: number | null): string {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return "";
  const [min, max] = [unit(Math.min(...known)), unit(Math.max(...known))];
  if (min === max) return `${plural(known.length, "run")}, ${max} each`;
  return `${plural(known.length, "run")}, ${min} to ${max}${usual === null ? "" : `, usually ${unit(usual)}`}`;
}

interface FigureProps {
  title: string;
  summary: string;
  times: number[];
  lines: Line[];
  unit: (value: number) => string;
}

const HEIGHT_REM = 9;
/** Formats of the time axis: smallest increment in seconds, format, and what is added at a change of day. */
const TIME_MARKS = [
  [86400, "{D} {MMM}", null, null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
] as unknown as uPlot.Axis.Values;

function Figure({ title, summary, times, lines, unit }: FigureProps) {
  const box = useRef<HTMLDivElement>(null);
  const [colours, recoloured] = useState(0);
  useEffect(() => onColours(() => recoloured((count) => count + 1)), []);
  useEffect(() => {
    const element = box.current as HTMLDivElement;
    const plot = new uPlot({ ...options(element, lines, unit), hooks: { setLegend: [showLastPoint] } }, [times, ...lines.map(({ values }) => values)] as uPlot.AlignedData, element);
    const observer = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: height() }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.destroy();
    };
  }, [colours, times.join()]);
  return (
    <figure>
      <figcaption>
        <b>{title}</b> <span class="quiet">{summary}</span>
      </figcaption>
      <div ref={box} class="plot" aria-hidden="true" />
    </figure>
  );
}

/** Whether a series has one point only. */
const isSinglePoint = (plot: uPlot, series: number): boolean => Array.from(plot.data[series] ?? []).filter((value) => value != null).length === 1;

/** Shows the last point in the legend while the pointer selects none. */
function showLastPoint(plot: uPlot): void {
  const [times, ...lines] = plot.data;
  const last = times.findLastIndex((_, index) => lines.some((values) => values[index] != null));
  if (plot.legend.idx == null) plot.setLegend({ idx: last }, false);
}

const rem = (): number => Number.parseFloat(getComputedStyle(document.documentElement).fontSize);
const height = (): number => Math.round(HEIGHT_REM * rem());

function options(element: HTMLElement, lines: Line[], unit: (value: number) => string): uPlot.Options {
  const font = `${Math.round(rem() * 0.78)}px ${getComputedStyle(element).fontFamily}`;
  const axis = { stroke: colour("ink-2"), font, grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
  return {
    width: element.clientWidth,
    height: height(),
    legend: { live: true },
    cursor: { y: false, points: { size: 7 } },
    scales: { y: { range: (_plot, _low, high) => [0, (high || 1) * 1.1] } },
    axes: [
      { ...axis, space: rem() * 5, values: TIME_MARKS },
      { ...axis, size: Math.round(rem() * 4.4), space: rem() * 2, values: (_plot, ticks) => ticks.map(unit) },
    ],
    series: [
      { value: "{DD} {MMM}, {HH}:{mm}:{ss}" },
      ...lines.map(({ label, colour: name, marks }) => ({
        label,
        stroke: colour(name),
        width: marks ? 0 : 1.5,
        spanGaps: true,
        paths: marks ? () => null : undefined,
        // A line through one point cannot be seen.
        points: { show: marks || isSinglePoint, size: 7, fill: colour(name) },
        value: (_plot: uPlot, value: number | null) => (value === null ? "–" : unit(value)),
      })),
    ] as uPlot.Series[],
  };
}
