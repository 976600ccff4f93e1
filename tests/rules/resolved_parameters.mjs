// Prints, as JSON, how non-interactive deployments resolve the parameters that functions declare. Each one is
// {secrets: [names], error: the error of firebase-tools, or null}. firebase-tools' own code reads the functions'
// manifests and resolves the parameters with the variables of the .env files. Standard input is a JSON array of
// {manifest: YAML, values: {NAME: "value"}}.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const require = createRequire(new URL("../../emulators/package.json", import.meta.url));
const { parse } = require("yaml");
const { resolveBackend } = require("firebase-tools/lib/deploy/functions/build");
const { buildFromV1Alpha1 } = require("firebase-tools/lib/deploy/functions/runtimes/discovery/v1alpha1");

const resolved = [];
for (const { manifest, values } of JSON.parse(await text(process.stdin))) {
  const build = buildFromV1Alpha1(parse(manifest), "p", "us-central1", "python313");
  const secrets = build.params.filter(({ type }) => type === "secret").map(({ name }) => name);
  build.params = build.params.filter(({ type }) => type !== "secret"); // their values would be read from Secret Manager
  const options = { build, firebaseConfig: { projectId: "p" }, codebase: "default", nonInteractive: true };
  let error = null;
  try {
    await resolveBackend({ ...options, userEnvs: values });
  } catch (failure) {
    error = failure.message;
  }
  resolved.push({ secrets, error });
}
console.log(JSON.stringify(resolved));
