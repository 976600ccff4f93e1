// What the page shows for an address that leads nowhere.
import { Link } from "./router";

/** @param task The task that the address names; null if it names none. */
export function NotFound({ task, alone }: { task: string | null; alone?: boolean }) {
  return (
    <main id="main" class={alone ? "alone" : ""}>
      <h1 tabIndex={-1}>{task === null ? "Page not found" : "Task not found"}</h1>
      <p>
        {task === null ? "No page has this address." : `The task ${task} does not exist, or you do not have access to it.`} <Link to="/">All tasks</Link>
      </p>
    </main>
  );
}
