// The link to the log entries of a run in Cloud Logging; `cli/cloud_logging.py` has the same rules.
import type { Run } from "./wire";

/** The address of the Logs Explorer with all entries of a run in a project. */
export function logsUrl(project: string, task: string, { id, scheduled_for, requested, started }: Run): string {
  const times = [scheduled_for, requested?.at, started].filter((time) => time != null);
  const since = times.toSorted((one, other) => Date.parse(one) - Date.parse(other))[0];
  const lines = [`jsonPayload.task=${JSON.stringify(task)}`, `jsonPayload.run_id=${JSON.stringify(id)}`, since && `timestamp>="${since}"`];
  const query = encodeURIComponent(lines.filter(Boolean).join("\n"));
  return `https://console.cloud.google.com/logs/query;query=${query}?project=${encodeURIComponent(project)}`;
}
