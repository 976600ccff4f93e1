// Records with coordinates as points on a grid of degrees. There is no map, so no request goes to a map server.
import { useEffect, useRef, useState } from "preact/hooks";
import { number, plural } from "../format";
import { colour, onColours } from "../theme";
import type { Json } from "../wire";
import { type Spot, cellText, valueOf } from "./records";

/** The field that colours the points, if records have it. */
const KIND_FIELD = "nx_operator";
const COLOURS = ["run", "warn", "ok", "off", "bad"];
/** The colour of further kinds. */
const OTHER = "idle";
const RADIUS = 3.5;
/** Of a point with several colours. */
const SHARED_RADIUS = 5.5;
/** Records whose points are at most this many pixels apart share one point. */
const CELL = 3;
/** Distance in pixels within which the pointer selects a point. */
const REACH = 14;
const PADDING = 28;

interface Props {
  records: Json[];
  spots: Spot[];
  /** Records that match the search; null for all. */
  chosen: Set<number> | null;
  onOpen: (index: number) => void;
}

/** The records at one place. */
interface Place extends Spot {
  x: number;
  y: number;
  indices: number[];
}

export function Scatter({ records, spots, chosen, onOpen }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const placed = useRef<Place[]>([]);
  const [near, setNear] = useState<Place | null>(null);
  const kindOf = (index: number): string => cellText(valueOf(records[index], KIND_FIELD));
  const kinds = [...new Set(spots.map(({ index }) => kindOf(index)))];
  useEffect(() => {
    const draw = (): void => {
      if (canvas.current === null) return; // the observer reports once more on removal
      const kindColours = new Map(kinds.map((kind, index) => [kind, colour(COLOURS[index] ?? OTHER)]));
      placed.current = paint(canvas.current, spots, chosen, (index) => kindColours.get(kindOf(index)) as string);
    };
    const observer = new ResizeObserver(draw);
    observer.observe(canvas.current as HTMLCanvasElement);
    const forget = onColours(draw);
    return () => {
      observer.disconnect();
      forget();
    };
  }, [spots, chosen]);
  const look = ({ offsetX, offsetY }: MouseEvent): void => {
    const distance = (one: Place): number => Math.hypot(one.x - offsetX, one.y - offsetY);
    const nearest = placed.current.reduce<Place | null>((best, one) => (best === null || distance(one) < distance(best) ? one : best), null);
    setNear(nearest && distance(nearest) <= REACH ? nearest : null);
  };
  const record = near && records[near.index];
  return (
    <figure class="scatter">
      <figcaption>
        <b>Positions</b> <span class="quiet">{plural(spots.length, "record")} with coordinates, on a grid of degrees</span>
        {kinds.length > 1 &&
          kinds.map((kind, index) => (
            <span key={kind} class={`kind ${COLOURS[index] ?? OTHER}`}>
              {kind || "no operator"}
            </span>
          ))}
      </figcaption>
      <div class="canvas">
        <canvas ref={canvas} role="img" aria-label={extent(spots)} onMouseMove={look} onMouseLeave={() => setNear(null)} onClick={() => near && onOpen(near.index)} />
        {near && record && (
          <p class="hint" aria-hidden="true" style={{ left: `${near.x}px`, top: `${near.y}px` }}>
            {cellText(valueOf(record, "name")) || cellText(valueOf(record, "id"))}
            <span class="remark">
              {[cellText(valueOf(record, "city")), `${near.latitude}, ${near.longitude}`].filter(Boolean).join(" · ")}
            </span>
            {near.indices.length > 1 && <span class="remark">and {number(near.indices.length - 1)} more at this place</span>}
          </p>
        )}
      </div>
    </figure>
  );
}

function bounds(values: number[]): [low: number, high: number] {
  return values.reduce<[number, number]>(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [Infinity, -Infinity]);
}

function extent(spots: Spot[]): string {
  const [south, north] = bounds(spots.map(({ latitude }) => latitude));
  const [west, east] = bounds(spots.map(({ longitude }) => longitude));
  return `${plural(spots.length, "point")} between latitudes ${south.toFixed(2)} and ${north.toFixed(2)}, longitudes ${west.toFixed(2)} and ${east.toFixed(2)}; the table below has each`;
}

function paint(canvas: HTMLCanvasElement, spots: Spot[], chosen: Set<number> | null, colourOf: (index: number) => string): Place[] {
  const { clientWidth: width, clientHeight: height } = canvas;
  const ratio = devicePixelRatio;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d") as CanvasRenderingContext2D;
  pen.scale(ratio, ratio);
  const [south, north] = bounds(spots.map(({ latitude }) => latitude));
  const [west, east] = bounds(spots.map(({ longitude }) => longitude));
  const squeeze = Math.cos((((south + north) / 2) * Math.PI) / 180); // a degree of longitude is shorter at high latitudes
  const scale = Math.min((width - 2 * PADDING) / Math.max((east - west) * squeeze, 0.02), (height - 2 * PADDING) / Math.max(north - south, 0.02));
  const x = (longitude: number): number => width / 2 + (longitude - (west + east) / 2) * squeeze * scale;
  const y = (latitude: number): number => height / 2 - (latitude - (south + north) / 2) * scale;

  const step = [0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30].find((degrees) => degrees * scale > 60) ?? 60;
  pen.strokeStyle = colour("line");
  pen.fillStyle = colour("ink-2");
  pen.font = `11px ${getComputedStyle(canvas).fontFamily}`;
  const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
  const left = (west + east) / 2 - width / 2 / squeeze / scale;
  const right = (west + east) / 2 + width / 2 / squeeze / scale;
  for (let at = Math.ceil(left / step) * step; at < right; at += step) {
    line(pen, x(at), 0, x(at), height);
    pen.fillText(`${at.toFixed(digits)}°`, x(at) + 3, height - 5);
  }
  const bottom = (south + north) / 2 - height / 2 / scale;
  const top = (south + north) / 2 + height / 2 / scale;
  for (let at = Math.ceil(bottom / step) * step; at < top; at += step) {
    line(pen, 0, y(at), width, y(at));
    if (y(at) > PADDING / 2) pen.fillText(`${at.toFixed(digits)}°`, 3, y(at) - 3);
  }

  const places = new Map<string, Place>();
  for (const spot of spots) {
    const [left, top] = [x(spot.longitude), y(spot.latitude)];
    const cell = `${Math.round(left / CELL)} ${Math.round(top / CELL)}`;
    const place = places.get(cell);
    if (place) place.indices.push(spot.index);
    else places.set(cell, { ...spot, x: left, y: top, indices: [spot.index] });
  }
  for (const place of inMixedOrder([...places.values()])) {
    const matching = chosen === null ? place.indices : place.indices.filter((index) => chosen.has(index));
    pen.globalAlpha = matching.length > 0 ? 0.75 : 0.06;
    sectors(pen, place, [...new Set((matching.length > 0 ? matching : place.indices).map(colourOf))]);
  }
  return [...places.values()];
}

/** The places in an order that is unrelated to their kinds, so that no kind always covers the others. */
function inMixedOrder(places: Place[]): Place[] {
  const mixed = ({ index }: Place): number => Math.imul(index + 1, 0x9e3779b1) >>> 0;
  return places.toSorted((one, other) => mixed(one) - mixed(other));
}

/** Draws a point with a sector in each colour. */
function sectors(pen: CanvasRenderingContext2D, { x, y }: Place, colours: string[]): void {
  const angle = (2 * Math.PI) / colours.length;
  const radius = colours.length === 1 ? RADIUS : SHARED_RADIUS;
  colours.forEach((fill, index) => {
    pen.fillStyle = fill;
    pen.beginPath();
    if (colours.length > 1) pen.moveTo(x, y);
    pen.arc(x, y, radius, index * angle, (index + 1) * angle);
    pen.fill();
  });
}

function line(pen: CanvasRenderingContext2D, ...[fromX, fromY, toX, toY]: [number, number, number, number]): void {
  pen.beginPath();
  pen.moveTo(fromX, fromY);
  pen.lineTo(toX, toY);
  pen.stroke();
}
