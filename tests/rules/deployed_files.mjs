// Prints, as a JSON array, the files that firebase-tools would deploy with the functions, by its own lister and with
// the ignore list of prepareFunctionsUpload.
//
//   node tests/rules/deployed_files.mjs FOLDER IGNORE…
import { createRequire } from "node:module";
import { relative, resolve } from "node:path";

const require = createRequire(new URL("../../emulators/package.json", import.meta.url));
const { readdirRecursive } = require("firebase-tools/lib/fsAsync");

const [folder, ...ignored] = process.argv.slice(2);
const path = resolve(folder);
const always = ["firebase-debug.log", "firebase-debug.*.log", ".runtimeconfig.json"];
const files = await readdirRecursive({ path, ignoreStrings: [...ignored, ...always] });
console.log(JSON.stringify(files.map(({ name }) => relative(path, name))));
