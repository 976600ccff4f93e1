// Prints how JavaScript reads a response, with its own fetch and zlib: `node fetch.mjs URL TOKEN BODY`.
import { request } from "node:http";
import { gunzipSync } from "node:zlib";

const [url, token, body] = process.argv.slice(2);
const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
const fetched = await fetch(url, { method: "POST", headers, body });
const text = await fetched.text();
const raw = await new Promise((resolve, reject) => {
  const call = request(url, { method: "POST", headers: { ...headers, "accept-encoding": "gzip" } }, async (answer) => {
    const pieces = [];
    for await (const piece of answer) pieces.push(piece);
    resolve(Buffer.concat(pieces));
  });
  call.on("error", reject).end(body);
});
process.stdout.write(
  JSON.stringify({
    encoding: fetched.headers.get("content-encoding"),
    same: gunzipSync(raw).toString("utf-8") === text,
    result: JSON.parse(text).result,
  }),
);
