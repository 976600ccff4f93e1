// Downloads a result in a format. A worker does it, so the page stays usable and never holds the file in memory.
import { useEffect, useRef, useState } from "preact/hooks";
import { CallError, resultRefused, resultRequest, unreachable } from "../firebase";
import { size } from "../format";
import type { Format } from "./exports";
import type { Order, Report } from "./exports.worker";

interface Choice {
  /** In the list of formats. */
  name: string;
  /** On the button, after "Download". */
  short: string;
  ending: string;
  note?: string;
}

const CHOICES: Record<Format, Choice> = {
  json: { name: "JSON", short: "JSON", ending: "json" },
  ndjson: { name: "NDJSON, a record per line", short: "NDJSON", ending: "ndjson" },
  csv: {
    name: "CSV for spreadsheets",
    short: "CSV",
    ending: "csv",
    note: "Text that a spreadsheet would execute gets an apostrophe before it.",
  },
  "csv-raw": {
    name: "CSV, unchanged",
    short: "unchanged CSV",
    ending: "csv",
    note: "For programs. A spreadsheet may execute text of this file.",
  },
};

/** Time for the browser to begin saving a file. */
const SAVING_MS = 60_000;

interface Props {
  task: string;
  /** The address in Storage of a result that is too large for an answer of the service. */
  url?: string;
}

export function Download({ task, url }: Props) {
  const [format, choose] = useState<Format>("json");
  /** Bytes received of a download at work; null while there is none. */
  const [received, setReceived] = useState<number | null>(null);
  const [error, setError] = useState<CallError | null>(null);
  const stop = useRef<AbortController | null>(null);
  useEffect(() => () => stop.current?.abort(), []);
  const save = async (): Promise<void> => {
    const stopping = (stop.current = new AbortController());
    setReceived(0);
    setError(null);
    try {
      const file = await written(task, url, format, setReceived, stopping.signal);
      const address = URL.createObjectURL(file);
      Object.assign(document.createElement("a"), { href: address, download: `${task}.${CHOICES[format].ending}` }).click();
      setTimeout(() => URL.revokeObjectURL(address), SAVING_MS);
    } catch (refused) {
      if (!stopping.signal.aborted) setError(refused as CallError);
    }
    if (stop.current === stopping) setReceived(null);
  };
  const { short, note } = CHOICES[format];
  return (
    <div class="download">
      <label>
        <span class="hidden">Format of the download</span>
        <select value={format} onChange={(event) => choose(event.currentTarget.value as Format)}>
          {Object.entries(CHOICES).map(([value, { name }]) => (
            <option key={value} value={value}>
              {name}
            </option>
          ))}
        </select>
      </label>
      {received === null ? (
        <button onClick={() => void save()}>Download {short}</button>
      ) : (
        <button onClick={() => stop.current?.abort()}>Cancel download</button>
      )}
      <p aria-live="polite" class="quiet">
        {received !== null ? `Downloading, ${size(received)} so far` : note}
      </p>
      {error && (
        <p class="notice bad" role="alert">
          Download failed: {error.message}{" "}
          {typeof error.details["url"] === "string" && (
            <a href={error.details["url"]} target="_blank" rel="noreferrer">
              Download it from Storage as JSON
            </a>
          )}
        </p>
      )}
    </div>
  );
}

/** The file, written by a worker that ends with it. */
async function written(task: string, url: string | undefined, format: Format, received: (bytes: number) => void, stop: AbortSignal): Promise<Blob> {
  const order: Order = { source: url === undefined ? await resultRequest(task) : { url }, format };
  stop.throwIfAborted();
  const worker = new Worker(new URL("./exports.worker.ts", import.meta.url), { type: "module" });
  try {
    return await new Promise((resolve, reject) => {
      stop.addEventListener("abort", () => reject(stop.reason));
      worker.onerror = () => reject(unreachable()); // its script could not be loaded
      worker.onmessage = ({ data }: MessageEvent<Report>) => {
        if ("received" in data) received(data.received);
        else if ("file" in data) resolve(data.file);
        else if ("refused" in data) reject(url === undefined ? resultRefused(data.refused.status, data.refused.body) : storageFailed(data.refused.status));
        else if ("unwritten" in data) reject(new CallError("internal", `the file could not be written: ${data.unwritten}`));
        else reject(url === undefined ? unreachable() : storageFailed());
      };
      worker.postMessage(order);
    });
  } finally {
    worker.terminate();
  }
}

/** The error of a download from Storage; without a status, the browser does not report the reason. */
const storageFailed = (status?: number): CallError =>
  new CallError(
    "unavailable",
    status === undefined
      ? "Cannot read from Storage. Check your connection; the bucket’s CORS configuration must also allow this page. The link downloads JSON without it."
      : `Storage answered HTTP ${status}. Get a new link, then try again.`,
  );
