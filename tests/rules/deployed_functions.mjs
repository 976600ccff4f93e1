// Prints, as JSON, the resources of each function as firebase-tools would deploy it:
// {name: {cpu, concurrency, availableMemoryMb}}. Its own code reads the manifest from standard input and checks it.
import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

const require = createRequire(new URL("../../emulators/package.json", import.meta.url));
const { parse } = require("yaml");
const backend = require("firebase-tools/lib/deploy/functions/backend");
const { toBackend } = require("firebase-tools/lib/deploy/functions/build");
const { resolveCpuAndConcurrency } = require("firebase-tools/lib/deploy/functions/prepare");
const { buildFromV1Alpha1 } = require("firebase-tools/lib/deploy/functions/runtimes/discovery/v1alpha1");
const { endpointsAreValid } = require("firebase-tools/lib/deploy/functions/validate");

const manifest = parse(await text(process.stdin));
const wanted = toBackend(buildFromV1Alpha1(manifest, "p", "us-central1", "python313"), {});
resolveCpuAndConcurrency(wanted);
endpointsAreValid(wanted, backend.empty());
const shown = ({ id, cpu, concurrency, availableMemoryMb }) => [id, { cpu, concurrency, availableMemoryMb }];
console.log(JSON.stringify(Object.fromEntries(backend.allEndpoints(wanted).map(shown))));
