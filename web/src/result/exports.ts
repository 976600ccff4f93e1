// Converts a result to NDJSON or CSV, piece by piece; `cli/exports.py` has the same rules (docs/cli.md, "Downloads").
// Numbers and nested values keep their text as stored, because JavaScript would round large numbers.

export type Format = "json" | "ndjson" | "csv" | "csv-raw";

/** What follows each record in a file. */
const NEWLINE = "\n";
/** Excel reads a file as UTF-8 only if it begins with this. */
const BYTE_ORDER_MARK = "\ufeff";
const BLANK = String.raw`\x00-\x20\x7f-\xa0\u2000-\u200b\u2028\u2029\u202f\u3000\ufeff"'`;
const OPERATOR = String.raw`=+\-@\uff1d\uff0b\uff0d\uff20`;
/** Text that a spreadsheet would execute or convert: a tab, a newline, or an operator after spaces and quotes. */
const FORMULA = new RegExp(`^(?:[\\t\\r\\n]|[${BLANK}]*[${OPERATOR}])`);
/**
 * What may begin a cell inside a text: a list separator of some locales, a tab or a newline, and an operator that
 * follows. It matches without an operator, too, so that it reads a run of such characters only once.
 */
const INNER_CELL = new RegExp(`([;\\t\\r\\n][;${BLANK}]*)([${OPERATOR}])?`, "g");
/**
 * A negative number, and text that begins with a digit. Where the comma is the decimal one, and the semicolon separates
 * cells, the two are one formula unless the text is quoted.
 */
const JOINED = /^-[^,]*,(?!\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$)\d/;

type Kind = "list" | "map" | "scalar";
const code = (character: string): number => character.charCodeAt(0);
const [QUOTE, BACKSLASH, COMMA] = [code('"'), code("\\"), code(",")];
const [LIST, LIST_END, MAP, MAP_END] = [code("["), code("]"), code("{"), code("}")];

/** Splits the JSON of a list or a map into the JSON of its entries; an entry of a map is `"key":value`. */
class Splitter {
  private depth = 0;
  private isScalar = true;
  private inText = false;
  private escaped = false;
  private pending = "";

  /** Entries that end in the next piece of the JSON. */
  push(piece: string): string[] {
    const entries: string[] = [];
    let from = 0;
    const end = (at: number): void => {
      const entry = (this.pending + piece.slice(from, at)).trim();
      if (entry !== "") entries.push(entry); // it is empty in [] and {}
      this.pending = "";
      from = at + 1;
    };
    for (let at = 0; at < piece.length; at++) {
      const now = piece.charCodeAt(at);
      if (this.inText) {
        if (this.escaped) this.escaped = false;
        else if (now === BACKSLASH) this.escaped = true;
        else if (now === QUOTE) this.inText = false;
      } else if (now === QUOTE) this.inText = true;
      else if (now === LIST || now === MAP) {
        if (this.depth++ === 0) {
          this.isScalar = false;
          from = at + 1;
        }
      } else if (now === LIST_END || now === MAP_END) {
        if (--this.depth === 0) end(at);
      } else if (now === COMMA && this.depth === 1) end(at);
    }
    this.pending += piece.slice(from);
    return entries;
  }

  /** After the last piece: the JSON of a result that is neither a list nor a map. */
  end(): string[] {
    return this.isScalar ? [this.pending.trim()] : [];
  }
}

/** JSON without newlines, which it may contain only between its tokens. */
const onOneLine = (json: string): string => json.replace(/[\r\n]/g, "");

/** The key and the JSON of the value of an entry of a map. */
function member(entry: string): [key: string, value: string] {
  let at = 1;
  while (entry.charCodeAt(at) !== QUOTE) at += entry.charCodeAt(at) === BACKSLASH ? 2 : 1;
  const colon = entry.indexOf(":", at);
  return [JSON.parse(entry.slice(0, at + 1)) as string, entry.slice(colon + 1).trim()];
}

/** A record's fields, each as JSON. */
function fieldsOf(entry: string, kind: Kind): Map<string, string> {
  if (kind === "map") {
    const [key, value] = member(entry);
    return new Map([
      ["key", JSON.stringify(key)],
      ["value", value],
    ]);
  }
  return entry.charCodeAt(0) === MAP ? new Map(new Splitter().push(entry).map(member)) : new Map([["value", entry]]);
}

/** A JSON value as the text of a cell. */
function cell(json: string | undefined, raw: boolean): string {
  if (json === undefined || json === "null") return "";
  if (json.charCodeAt(0) === QUOTE) return harmless(JSON.parse(json) as string, raw);
  return raw ? onOneLine(json) : withApostrophes(onOneLine(json).replaceAll("\t", ""));
}

/** Text that no spreadsheet executes. A lone surrogate, which UTF-8 cannot hold, becomes its escape. */
function harmless(text: string, raw: boolean): string {
  const whole = text.replace(/\p{Surrogate}/gu, (half) => `\\u${half.charCodeAt(0).toString(16)}`);
  if (raw) return whole;
  return FORMULA.test(whole) ? `'${withApostrophes(whole)}` : withApostrophes(whole);
}

/** Text with an apostrophe before each formula that follows what separates cells in some locales. */
const withApostrophes = (text: string): string =>
  text.replace(INNER_CELL, (found, begin: string, operator?: string) =>
    operator === undefined ? found : begin.replace(/\r\n|[;\t\r\n]/g, "$&'") + operator,
  );

function csvLine(cells: string[], raw: boolean): string {
  const special = raw ? /[",\r\n]/ : /[",;\t\r\n]/;
  const isJoined = !raw && JOINED.test(cells.slice(0, 2).join());
  const quoted = cells.map((text, index) => (special.test(text) || (isJoined && index === 1) ? `"${text.replaceAll('"', '""')}"` : text));
  return (quoted.length === 1 && quoted[0] === "" ? '""' : quoted.join(",")) + NEWLINE; // readers ignore an empty line
}

async function* textOf(result: Blob): AsyncGenerator<string> {
  const reader = result.stream().pipeThrough(new TextDecoderStream()).getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
}

/** The entries of a result, those of one piece at a time. */
async function* entriesOf(result: Blob): AsyncGenerator<string[]> {
  const splitter = new Splitter();
  for await (const piece of textOf(result)) yield splitter.push(piece);
  yield splitter.end();
}

async function kindOf(result: Blob): Promise<Kind> {
  const first = (await result.slice(0, 100).text()).trimStart().charCodeAt(0);
  return first === LIST ? "list" : first === MAP ? "map" : "scalar";
}

async function* ndjson(result: Blob): AsyncGenerator<string> {
  if ((await kindOf(result)) === "map") {
    for await (const piece of textOf(result)) yield onOneLine(piece);
    yield NEWLINE;
    return;
  }
  for await (const entries of entriesOf(result)) yield entries.map((entry) => onOneLine(entry) + NEWLINE).join("");
}

/** Reads the result twice, first for its columns, because the header comes first. */
async function* csv(result: Blob, raw: boolean): AsyncGenerator<string> {
  const kind = await kindOf(result);
  const columns = new Set(kind === "map" ? ["key", "value"] : []);
  if (kind !== "map") {
    for await (const entries of entriesOf(result)) for (const entry of entries) for (const field of fieldsOf(entry, kind).keys()) columns.add(field);
  }
  if (columns.size === 0) return;
  yield (raw ? "" : BYTE_ORDER_MARK) + csvLine([...columns].map((field) => harmless(field, raw)), raw);
  const line = (entry: string): string => {
    const fields = fieldsOf(entry, kind);
    return csvLine(Array.from(columns, (field) => cell(fields.get(field), raw)), raw);
  };
  for await (const entries of entriesOf(result)) yield entries.map(line).join("");
}

/** The text of a file, piece by piece. */
export const converted = (result: Blob, format: Exclude<Format, "json">): AsyncGenerator<string> =>
  format === "ndjson" ? ndjson(result) : csv(result, format === "csv-raw");
