// Records as a table. A click on a heading sorts; a click or Enter opens a record.
import { useState } from "preact/hooks";
import { ROUNDED, isRounded, number } from "../format";
import type { Json } from "../wire";
import { type Column, cellText, valueOf } from "./records";
import { Rows, moved } from "./virtual";

export interface Order {
  field: string | null;
  descending: boolean;
}

interface Props {
  label: string;
  records: Json[];
  columns: Column[];
  /** Indices of the records to show, in order. */
  indices: number[];
  order: Order | null;
  onOrder: (order: Order | null) => void;
  opened: number | null;
  onOpen: (index: number) => void;
}

export function Grid({ label, records, columns, indices, order, onOrder, opened, onOpen }: Props) {
  const [at, setAt] = useState(0);
  const active = Math.max(0, Math.min(at, indices.length - 1));
  const keys = (event: KeyboardEvent, page: number): boolean => {
    const to = moved(event.key, active, indices.length, page);
    if (to !== null) setAt(to);
    else if (event.key === "Enter" && indices[active] !== undefined && event.target === event.currentTarget) onOpen(indices[active]);
    else return false;
    return true;
  };
  const sort = (field: string | null): void => {
    const same = order?.field === field;
    onOrder(!same ? { field, descending: false } : order.descending ? null : { field, descending: true });
  };
  const template = `${String(records.length).length + 3}ch ${columns.map(({ width }) => `minmax(${width}ch, ${width}fr)`).join(" ")}`;
  return (
    <Rows
      role="grid"
      label={label}
      count={indices.length}
      columns={columns.length + 1}
      active={active}
      activeId={indices.length > 0 ? `record-${active}` : undefined}
      onKey={keys}
      style={{ "--columns": template }}
      head={
        <div class="cells head" role="row" aria-rowindex={1}>
          <span role="columnheader">#</span>
          {columns.map(({ field, numeric }) => {
            const sorted = order !== null && order.field === field;
            return (
              <span key={field} role="columnheader" class={numeric ? "numeric" : ""} aria-sort={!sorted ? "none" : order.descending ? "descending" : "ascending"}>
                <button class="plain" dir="auto" onClick={() => sort(field)}>
                  {field ?? "value"}
                  {sorted && <i aria-hidden="true">{order.descending ? " ↓" : " ↑"}</i>}
                </button>
              </span>
            );
          })}
        </div>
      }
      row={(place, style) => {
        const index = indices[place] as number;
        return (
          <div
            key={place}
            id={`record-${place}`}
            class={`cells ${place === active ? "active" : ""} ${index === opened ? "opened" : ""}`}
            role="row"
            aria-rowindex={place + 2}
            aria-selected={index === opened}
            style={style}
            onClick={() => {
              setAt(place);
              onOpen(index);
            }}
          >
            <span role="gridcell" class="quiet numeric">
              {number(index + 1)}
            </span>
            {columns.map(({ field, numeric }) => (
              <span
                key={field}
                role="gridcell"
                class={numeric ? "numeric" : ""}
                dir="auto"
                title={isRounded(valueOf(records[index], field)) ? ROUNDED : undefined}
              >
                {cellText(valueOf(records[index], field))}
              </span>
            ))}
          </div>
        );
      }}
    />
  );
}
