// The browser tab's title and icon, which show failed tasks also while the page is in the background.
import { useEffect } from "preact/hooks";
import { number } from "./format";

const ICON = "/icon.svg";
const ICON_FAILED = "/icon-failed.svg";
const TITLE = "nx-tasks";

/**
 * Shows a view in the tab.
 *
 * @param view Name of the view; "" for the overview.
 * @param failed Number of failed tasks.
 */
export function useTab(view: string, failed: number): void {
  useEffect(() => {
    setTab([failed > 0 && `${number(failed)} failed`, view, TITLE].filter(Boolean).join(" · "), failed > 0 ? ICON_FAILED : ICON);
  }, [view, failed]);
  useEffect(() => () => setTab(TITLE, ICON), []); // after a sign-out
}

function setTab(title: string, icon: string): void {
  document.title = title;
  document.querySelector("link[rel=icon]")?.setAttribute("href", icon);
}
