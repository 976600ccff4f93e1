// Light or dark: the system's choice, or the viewer's, which this browser remembers.

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

/** Call whenever the colours change, for what is drawn on a canvas; returns what ends that. */
export function onColours(changed: () => void): () => void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  system.addEventListener("change", changed);
  addEventListener("nx-theme", changed);
  return () => {
    system.removeEventListener("change", changed);
    removeEventListener("nx-theme", changed);
  };
}

/** A colour of the style sheet as a canvas wants it, for the theme of this moment. */
export function colour(name: string): string {
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
