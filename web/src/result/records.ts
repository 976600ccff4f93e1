// A result as records: columns, cell texts, search and order. Imports no component.
import { exact, isRounded } from "../format";
import { searchTerms, searchable } from "../search";
import type { Json } from "../wire";

export type Fields = { [name: string]: Json };

/** Number of records from which columns and their widths are derived. */
const SAMPLED = 200;
const MAX_WIDTH = 36;
/** Fields that come first, because databases return fields in no useful order. */
const FIRST = ["id", "name", "health", "status", "reasons"];

export interface Column {
  /** Field of a record; null for the record itself if records are not maps. */
  field: string | null;
  /** Width in characters. */
  width: number;
  numeric: boolean;
}

export const isMap = (value: Json | undefined): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export function columnsOf(records: Json[]): Column[] {
  const sample = records.slice(0, SAMPLED);
  if (!sample.some(isMap)) return [columnOf(null, sample)];
  const found = new Set(sample.filter(isMap).flatMap((record) => Object.keys(record)));
  const fields = [...FIRST.filter((field) => found.delete(field)), ...found];
  return fields.map((field) => columnOf(field, sample));
}

function columnOf(field: string | null, sample: Json[]): Column {
  const values = sample.map((record) => valueOf(record, field)).filter((value) => value != null);
  const widest = Math.max(field?.length ?? 5, ...values.map((value) => cellText(value).length));
  return { field, width: Math.min(MAX_WIDTH, widest) + 3, numeric: values.length > 0 && values.every((value) => typeof value === "number") };
}

export function valueOf(record: Json | undefined, field: string | null): Json | undefined {
  if (field === null) return record;
  return isMap(record) ? record[field] : undefined;
}

export function cellText(value: Json | undefined): string {
  if (value == null) return "";
  if (Array.isArray(value) && value.every((item) => typeof item !== "object")) return value.map(exact).join(", ");
  return typeof value === "object" ? JSON.stringify(value, (_, inner: unknown) => (isRounded(inner) ? exact(inner) : inner)) : exact(value);
}

/** A record with its fields in the order of the columns. */
export function inOrder(record: Json, columns: Column[]): Json {
  if (!isMap(record)) return record;
  const fields = columns.flatMap(({ field }) => (field !== null && field in record ? [[field, record[field]]] : []));
  return { ...Object.fromEntries(fields), ...record };
}

const CHUNK = 4000;
/** Yields to the browser between two chunks, so that the page stays responsive. */
const breath = (): Promise<void> => new Promise((go) => setTimeout(go));

/** The search index of a result. */
export class TextIndex {
  private readonly texts: string[] = [];

  constructor(private readonly records: Json[]) {}

  /** Indices of the records that contain all words and "phrases", in order; null if the search was superseded. */
  async find(words: string, superseded: () => boolean): Promise<number[] | null> {
    const wanted = searchTerms(words);
    const found: number[] = [];
    for (let index = 0; index < this.records.length; index++) {
      if (index % CHUNK === 0) {
        await breath();
        if (superseded()) return null;
      }
      const text = (this.texts[index] ??= searchable(JSON.stringify(this.records[index])));
      if (wanted.every((word) => text.includes(word))) found.push(index);
    }
    return found;
  }
}

/** Indices sorted by a field; records without a value come last. */
export function ordered(records: Json[], indices: number[], field: string | null, descending: boolean): number[] {
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  const sign = descending ? -1 : 1;
  const keyed = indices.map((index) => ({ index, value: valueOf(records[index], field) }));
  keyed.sort((one, other) => {
    if (one.value == null || other.value == null) return Number(one.value == null) - Number(other.value == null);
    if (typeof one.value === "number" && typeof other.value === "number") return sign * (one.value - other.value);
    return sign * compare(cellText(one.value), cellText(other.value));
  });
  return keyed.map(({ index }) => index);
}

export interface Spot {
  index: number;
  latitude: number;
  longitude: number;
}

/** Positions of the records that have coordinates in OCPI's form. */
export function spotsOf(records: Json[]): Spot[] {
  return records.flatMap((record, index) => {
    const at = valueOf(record, "coordinates");
    if (!isMap(at) || at["latitude"] == null || at["longitude"] == null) return [];
    const [latitude, longitude] = [Number(at["latitude"]), Number(at["longitude"])];
    return Number.isFinite(latitude) && Number.isFinite(longitude) ? [{ index, latitude, longitude }] : [];
  });
}

const MAX_KINDS = 12;
/** Values of a device's health, best first. */
const WORSENING = ["good", "degraded", "unhealthy", "offline"];

/** The field with each record's state, and the number of records per value; null if there is none. */
export function breakdownOf(records: Json[]): { field: string; counts: [kind: string, count: number][] } | null {
  for (const field of ["health", "status"]) {
    const counts = new Map<string, number>();
    for (const record of records) {
      const kind = valueOf(record, field);
      if (typeof kind === "string") counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    if (counts.size === 0 || counts.size > MAX_KINDS) continue;
    const rank = ([kind]: [string, number]): number => (WORSENING.includes(kind) ? WORSENING.indexOf(kind) : WORSENING.length);
    return { field, counts: [...counts].toSorted((one, other) => rank(one) - rank(other) || other[1] - one[1]) };
  }
  return null;
}
