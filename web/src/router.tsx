// The page's addresses: / and /tasks/NAME; the query names the opened run.
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";

export interface Place {
  /** The task that is shown; null for the list. */
  task: string | null;
  /** The part of the task that is shown. */
  part: "runs" | "result";
  /** The run that is opened. */
  run: string | null;
}

function read(): Place {
  const [, folder, name, part] = location.pathname.split("/");
  return {
    task: folder === "tasks" && name ? decoded(name) : null,
    part: part === "result" ? "result" : "runs",
    run: new URLSearchParams(location.search).get("run"),
  };
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

export function go(path: string): void {
  history.pushState(null, "", path);
  dispatchEvent(new PopStateEvent("popstate"));
}

export function usePlace(): Place {
  const [place, set] = useState(read);
  useEffect(() => {
    const moved = (): void => set(read());
    addEventListener("popstate", moved);
    return () => removeEventListener("popstate", moved);
  }, []);
  return place;
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
