// The page's addresses: /, /timeline, /tasks/NAME and /tasks/NAME/result. The query holds what a view shows, such as
// its filter, search, time range and opened run, so that a shared link opens the same view.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

export interface Place {
  view: "tasks" | "timeline" | "task" | "unknown";
  /** The task that is shown; null in all other views. */
  task: string | null;
  /** The part of the task that is shown. */
  part: "runs" | "result";
  /** The run that a link opened. */
  run: string | null;
  query: URLSearchParams;
}

export function readPlace(): Place {
  const query = new URLSearchParams(location.search);
  const [, folder = "", name = "", part = "", ...rest] = location.pathname.replace(/(?<=.)\/$/, "").split("/");
  const place: Place = { view: "unknown", task: null, part: "runs", run: query.get("run"), query };
  if (rest.length > 0) return place;
  if (folder === "tasks" && name !== "" && (part === "" || part === "result")) {
    return { ...place, view: "task", task: decoded(name), part: part === "result" ? "result" : "runs" };
  }
  if (name !== "") return place;
  return { ...place, view: folder === "" || folder === "index.html" ? "tasks" : folder === "timeline" ? "timeline" : "unknown" };
}

/** A decoded part of the address; invalid percent-encoding stays as it is. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export const taskPath = (name: string, part?: "result"): string =>
  `/tasks/${encodeURIComponent(name)}${part ? `/${part}` : ""}`;

export const runPath = (name: string, run: string): string => `${taskPath(name)}?run=${encodeURIComponent(run)}`;

/** @param replace Whether the current entry of the browser's history is replaced instead of a new one added. */
export function go(path: string, replace = false): void {
  if (replace) history.replaceState(null, "", path);
  else history.pushState(null, "", path);
  dispatchEvent(new PopStateEvent("popstate"));
}

/** Opens a run; in the view of its task, the rest of the view stays. */
export function goRun(name: string, run: string): void {
  const { view, task, part } = readPlace();
  if (view === "task" && task === name && part === "runs") goQuery({ run });
  else go(runPath(name, run));
}

/** Changes values in the query of the current address; an empty value or list removes its name. */
export function goQuery(changes: { [name: string]: string | string[] }, replace = false): void {
  const query = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    query.delete(name);
    for (const each of Array.isArray(value) ? value : [value]) if (each !== "") query.append(name, each);
  }
  const text = query.toString();
  const path = `${location.pathname}${text && `?${text}`}`;
  if (path !== `${location.pathname}${location.search}`) go(path, replace);
}

export function usePlace(): Place {
  const [place, set] = useState(readPlace);
  useEffect(() => {
    const moved = (): void => set(readPlace());
    addEventListener("popstate", moved);
    return () => removeEventListener("popstate", moved);
  }, []);
  return place;
}

/**
 * A value in the query of the address, and a function that changes it.
 *
 * @param name Its name in the query.
 * @param initial Its value if the address does not have it; the address never contains this value.
 */
export function useParam(name: string, initial = ""): [string, (value: string, replace?: boolean) => void] {
  const value = usePlace().query.get(name) ?? initial;
  return [value, (wanted, replace) => goQuery({ [name]: wanted === initial ? "" : wanted }, replace)];
}

const PAUSE_MS = 200;

/**
 * A value in the query of the address that a user types: its text, and a function that changes it. The address has it
 * after a pause, because browsers limit changes of the address. It replaces the current entry of the browser's history.
 *
 * @param name Its name in the query.
 * @param textOf Its text, if that differs from the value.
 * @returns The text, and a function that takes a new text and its value; null if the text is not complete, so that the
 *   address keeps its value.
 */
export function useTypedParam(name: string, textOf = (value: string): string => value): [string, (text: string, value?: string | null) => void] {
  const [value, set] = useParam(name);
  const [text, setText] = useState(textOf(value));
  const timer = useRef(0);
  const written = useRef(value);
  useEffect(() => {
    if (value !== written.current) {
      // A link, or back and forward, has changed the address. What was typed before must not replace it.
      clearTimeout(timer.current);
      setText(textOf(value));
    }
    written.current = value;
  }, [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const type = (typed: string, wanted: string | null = typed): void => {
    setText(typed);
    clearTimeout(timer.current);
    if (wanted === null) return;
    timer.current = window.setTimeout(() => {
      written.current = wanted;
      set(wanted, true);
    }, PAUSE_MS);
  };
  return [text, type];
}

interface SearchProps {
  /** Name of the searched text in the query of the address. */
  param: string;
  label: string;
}

export function SearchField({ param, label }: SearchProps) {
  const [text, type] = useTypedParam(param);
  return <input type="search" dir="auto" aria-label={label} placeholder={label} value={text} onInput={(event) => type(event.currentTarget.value)} />;
}

interface LinkProps {
  to: string;
  children: ComponentChildren;
  class?: string;
  current?: boolean;
}

export function Link({ to, children, current, ...rest }: LinkProps) {
  const follow = (event: MouseEvent): void => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return; // for example, to open a new tab
    event.preventDefault();
    go(to);
  };
  return (
    <a href={to} onClick={follow} aria-current={current ? "page" : undefined} {...rest}>
      {children}
    </a>
  );
}
