// A list that renders only the rows in view, so that 100,000 rows scroll smoothly.
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { number } from "../format";

/** Rows rendered beyond each edge, so that fast scrolling shows no gaps. */
const BEYOND = 10;
const ROW_REM = 1.9;
/** Browsers do not lay out elements taller than about 17 million pixels. */
const MAX_PIXELS = 15_000_000;

interface Props {
  count: number;
  /** Renders a row; the style positions it. */
  row: (index: number, style: Record<string, string>) => ComponentChildren;
  /** The row to keep in view. */
  active: number;
  /** Handles a key; returns whether it did. */
  onKey: (event: KeyboardEvent, page: number) => boolean;
  role: "grid" | "tree";
  label: string;
  activeId: string | undefined;
  columns?: number;
  head?: ComponentChildren;
  style?: Record<string, string>;
}

export function Rows({ count, row, active, onKey, role, label, activeId, columns, head, style }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const [height] = useState(() => Math.round(ROW_REM * Number.parseFloat(getComputedStyle(document.documentElement).fontSize)));
  const [[first, last], setRange] = useState<[number, number]>([0, 40]);
  const maxRows = Math.floor(MAX_PIXELS / height);
  const shown = Math.min(count, maxRows);
  const headHeight = head ? height : 0;

  const measure = (): void => {
    if (box.current === null) return; // the observer reports once more on removal
    const { scrollTop, clientHeight } = box.current;
    const from = Math.max(0, Math.floor(scrollTop / height) - BEYOND);
    const to = Math.min(shown, Math.ceil((scrollTop + clientHeight) / height) + BEYOND);
    setRange((range) => (range[0] === from && range[1] === to ? range : [from, to]));
  };
  useLayoutEffect(measure, [count]);
  useEffect(() => {
    const observer = new ResizeObserver(measure);
    observer.observe(box.current as HTMLDivElement);
    return () => observer.disconnect();
  }, [count]);
  useLayoutEffect(() => {
    const element = box.current as HTMLDivElement;
    const top = active * height;
    const inner = element.clientHeight - headHeight;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + height > element.scrollTop + inner) element.scrollTop = top + height - inner;
  }, [active]);

  const keys = (event: KeyboardEvent): void => {
    const page = Math.max(1, Math.floor((box.current as HTMLDivElement).clientHeight / height) - 2);
    if (onKey(event, page)) event.preventDefault();
  };
  return (
    <>
      <div
        ref={box}
        class={count === 0 ? "rows none" : "rows"}
        role={role}
        tabIndex={0}
        aria-label={label}
        aria-activedescendant={activeId}
        {...(role === "grid" ? { "aria-rowcount": count + 1, "aria-colcount": columns } : {})}
        onScroll={measure}
        onKeyDown={keys}
        style={style}
      >
        {head}
        <div class="space" role="presentation" style={{ height: `${shown * height}px` }}>
          {Array.from({ length: Math.max(0, Math.min(last, shown) - first) }, (_, offset) =>
            row(first + offset, { transform: `translateY(${(first + offset) * height}px)`, height: `${height}px` }),
          )}
        </div>
      </div>
      {count > maxRows && <p class="quiet">Only the first {number(maxRows)} are shown. Search, or download all of them.</p>}
    </>
  );
}

/** The row that a key moves to among `count` rows; null for any other key. */
export function moved(key: string, at: number, count: number, page: number): number | null {
  const moves: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: count - 1 };
  const to = moves[key];
  return to === undefined ? null : Math.max(0, Math.min(count - 1, to));
}
