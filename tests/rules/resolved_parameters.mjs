// Prints, as JSON, how a non-interactive deployment resolves the parameters that functions declare:
// {secrets: [names], error: the error of firebase-tools, or null}. firebase-tools' own code reads the functions'
// manifest from standard input and resolves the parameters with the variables of the .env files.
//
//   node tests/rules/resolved_parameters.mjs '{"NAME": "value"}'
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const require = createRequire(new URL("../../emulators/package.json", import.meta.url));
const { parse } = require("yaml");
const { resolveBackend } = require("firebase-tools/lib/deploy/functions/build");
const { buildFromV1Alpha1 } = require("firebase-tools/lib/deploy/functions/runtimes/discovery/v1alpha1");

const build = buildFromV1Alpha1(parse(await text(process.stdin)), "p", "us-central1", "python313");
const secrets = build.params.filter(({ type }) => type === "secret").map(({ name }) => name);
build.params = build.params.filter(({ type }) => type !== "secret"); // their values would be read from Secret Manager
const options = { build, firebaseConfig: { projectId: "p" }, codebase: "default", nonInteractive: true };
let error = null;
try {
  await resolveBackend({ ...options, userEnvs: JSON.parse(process.argv[2]) });
} catch (failure) {
  error = failure.message;
}
console.log(JSON.stringify({ secrets, error }));
