// Downloads a result and writes it as a file, in a thread of its own, so that the page can be used meanwhile. The bytes
// become Blobs of a few megabytes, which browsers keep outside the page: Chromium in its own process or on disk, Firefox
// in temporary files. So neither the result nor the file is ever in the page's memory.
import { type Format, converted } from "./exports";

export interface Order {
  request: { url: string; headers: Record<string, string>; body: string };
  format: Format;
}

/** Sent to the page: bytes received so far, or the outcome. */
export type Report = { received: number } | { file: Blob } | { refused: { status: number; body: unknown } } | { broken: true } | { unwritten: string };

const PIECE_BYTES = 4 << 20;
const TYPES: Record<Format, string> = { json: "application/json", ndjson: "application/x-ndjson", csv: "text/csv", "csv-raw": "text/csv" };
/** What a callable's response has around the result. */
const [HEAD, TAIL] = ['{"result":', "}"];

const report = (message: Report): void => postMessage(message);

/** Joins bytes to one Blob without holding more than a piece in memory. */
class Collector {
  size = 0;
  private readonly pieces: Blob[] = [];
  private waiting: Uint8Array<ArrayBuffer>[] = [];
  private waitingBytes = 0;

  /** Returns whether a piece was completed. */
  async add(bytes: Uint8Array<ArrayBuffer>): Promise<boolean> {
    this.waiting.push(bytes);
    this.waitingBytes += bytes.length;
    this.size += bytes.length;
    const full = this.waitingBytes >= PIECE_BYTES;
    if (full) await this.flush();
    return full;
  }

  async blob(type: string): Promise<Blob> {
    await this.flush();
    return new Blob(this.pieces, { type });
  }

  private async flush(): Promise<void> {
    const bytes = new Uint8Array(this.waitingBytes);
    let at = 0;
    for (const each of this.waiting) {
      bytes.set(each, at);
      at += each.length;
    }
    // Firefox keeps the bytes of a new Blob in memory, and those of a response in a file.
    this.pieces.push(await new Response(bytes).blob());
    this.waiting = [];
    this.waitingBytes = 0;
  }
}

async function download({ url, headers, body }: Order["request"]): Promise<Blob | null> {
  const answer = await fetch(url, { method: "POST", headers, body });
  if (!answer.ok || answer.body === null) {
    report({ refused: { status: answer.status, body: await answer.json().catch(() => null) } });
    return null;
  }
  const collector = new Collector();
  const reader = answer.body.getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    if (await collector.add(read.value)) report({ received: collector.size });
  }
  return (await collector.blob("")).slice(HEAD.length, collector.size - TAIL.length, TYPES.json);
}

async function written(result: Blob, format: Exclude<Format, "json">): Promise<Blob> {
  const collector = new Collector();
  const encoder = new TextEncoder();
  for await (const text of converted(result, format)) await collector.add(encoder.encode(text));
  return collector.blob(TYPES[format]);
}

addEventListener("message", ({ data: { request, format } }: MessageEvent<Order>) => {
  download(request).then(
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
