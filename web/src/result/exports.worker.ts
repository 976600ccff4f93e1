// Downloads a result and writes it as a file, in a thread of its own, so that the page can be used meanwhile. The bytes
// become Blobs of a few megabytes, which browsers keep outside the page: Chromium in its own process or on disk, Firefox
// in temporary files. So neither the result nor the file is ever in the page's memory.
import { type Format, converted } from "./exports";

export interface Order {
  source: Source;
  format: Format;
}

/** A call of `get_task_data`, or the address of the result in Storage. */
type Source = { url: string; headers: Record<string, string>; body: string } | { url: string };

/** Sent to the page: bytes received so far, or the outcome. */
export type Report = { received: number } | { file: Blob } | { refused: { status: number; body: unknown } } | { broken: true } | { unwritten: string };

const PIECE_BYTES = 4 << 20;
const TYPES: Record<Format, string> = { json: "application/json", ndjson: "application/x-ndjson", csv: "text/csv", "csv-raw": "text/csv" };
/** What a callable's response has around the result. */
const [HEAD, TAIL] = ['{"result":', "}"];

const report = (message: Report): void => postMessage(message);

/** Joins bytes to one Blob; only a piece of it is in memory. */
class Collector {
  size = 0;
  private readonly pieces: Blob[] = [];
  private readonly piece = new Uint8Array(PIECE_BYTES);
  private filled = 0;

  /** Returns whether a piece was completed. */
  async add(bytes: Uint8Array): Promise<boolean> {
    const before = this.pieces.length;
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.subarray(at, at + PIECE_BYTES - this.filled);
      this.piece.set(part, this.filled);
      this.filled += part.length;
      at += part.length;
      if (this.filled === PIECE_BYTES) await this.flush();
    }
    this.size += bytes.length;
    return this.pieces.length > before;
  }

  async blob(type: string): Promise<Blob> {
    await this.flush();
    return new Blob(this.pieces, { type });
  }

  private async flush(): Promise<void> {
    // Firefox keeps the bytes of a new Blob in memory, and those of a response in a file.
    this.pieces.push(await new Response(this.piece.subarray(0, this.filled)).blob());
    this.filled = 0;
  }
}

async function download(source: Source): Promise<Blob | null> {
  const isCall = "body" in source;
  const answer = await fetch(source.url, isCall ? { method: "POST", headers: source.headers, body: source.body } : { cache: "no-store" });
  if (!answer.ok || answer.body === null) {
    report({ refused: { status: answer.status, body: await answer.json().catch(() => null) } });
    return null;
  }
  const collector = new Collector();
  const reader = answer.body.getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    if (await collector.add(read.value)) report({ received: collector.size });
  }
  const whole = await collector.blob(TYPES.json);
  return isCall ? whole.slice(HEAD.length, collector.size - TAIL.length, TYPES.json) : whole;
}

async function written(result: Blob, format: Exclude<Format, "json">): Promise<Blob> {
  const collector = new Collector();
  const encoder = new TextEncoder();
  for await (const text of converted(result, format)) await collector.add(encoder.encode(text));
  return collector.blob(TYPES[format]);
}

addEventListener("message", ({ data: { source, format } }: MessageEvent<Order>) => {
  download(source).then(
    async (result) => {
      if (result === null) return;
      try {
        report({ file: format === "json" ? result : await written(result, format) });
      } catch (error) {
        report({ unwritten: String(error) });
      }
    },
    () => report({ broken: true }), // the connection
  );
});
