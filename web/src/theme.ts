// The theme: the system's, or the user's choice, which this browser stores.

export type Theme = "system" | "light" | "dark";

const KEY = "nx-tasks-theme";

export function theme(): Theme {
  const kept = localStorage.getItem(KEY);
  return kept === "light" || kept === "dark" ? kept : "system";
}

export function applyTheme(chosen: Theme = theme()): void {
  if (chosen === "system") {
    localStorage.removeItem(KEY);
    delete document.documentElement.dataset["theme"];
  } else {
    localStorage.setItem(KEY, chosen);
    document.documentElement.dataset["theme"] = chosen;
  }
  dispatchEvent(new Event("nx-theme"));
}

/** Calls `changed` whenever the colours change, so that canvases are drawn again; returns a function that ends it. */
export function onColours(changed: () => void): () => void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", changed);
  addEventListener("nx-theme", changed);
  return () => {
    system.removeEventListener("change", changed);
    removeEventListener("nx-theme", changed);
  };
}

/** A colour of the style sheet in the present theme, in a form that a canvas accepts. */
export function colour(name: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
