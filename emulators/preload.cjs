// Loaded into firebase-tools before its own code, to work around seven of its problems. If a version of firebase-tools
// does not fit a workaround, a warning is printed and the workaround is skipped.

const http = require("node:http");
const path = require("node:path");

// On start, the Auth emulator compiles a validator for every request type of the Identity API, which would take most of
// the stack's start-up time. The library can compile them on first use, but firebase-tools does not enable that.
workAround("The Auth emulator will start slowly", (from) => {
  const exegesis = require(require.resolve("exegesis-express", { paths: [from] }));
  const { middleware } = exegesis;
  exegesis.middleware = (document, options) =>
    middleware(document, { ...options, lazyCompileValidationSchemas: true });
});

// For each Python worker, firebase-tools picks a free port, which the worker binds seconds later. Two workers that start
// together may get the same port, and one task's delivery then runs another task. Here no port is assigned twice.
workAround("Functions that start together may get the same port", (from) => {
  const portfinder = require(require.resolve("portfinder", { paths: [from] }));
  const { getPortPromise } = portfinder;
  let last = 0;
  let turn = Promise.resolve();
  portfinder.getPortPromise = (options = {}) => {
    turn = turn.catch(() => {}).then(async () => {
      last = await getPortPromise({ ...options, port: Math.max(options.port ?? 0, last + 1) });
      return last;
    });
    return turn;
  };
});

// For each worker, firebase-tools reads the function's secrets from Google's Secret Manager, with any credentials that it
// finds. The local stack's secrets are in its environment, so no real service is contacted.
workAround("Secrets will be read from Google's Secret Manager", (from) => {
  const manager = require(path.join(path.dirname(from), "lib/gcp/secretManager.js"));
  manager.accessSecretVersion = async (_project, name) => {
    if (!process.env[name]) throw new Error(`the stack's environment has no ${name}`);
    return process.env[name];
  };
});

// Node's fetch, with which the Cloud Tasks emulator delivers, waits five minutes for a response. Legs may take longer.
workAround("Cloud Tasks will deliver legs of more than five minutes again while they run", (from) => {
  const { Agent, setGlobalDispatcher } = require(require.resolve("undici", { paths: [from] }));
  setGlobalDispatcher(new Agent({ headersTimeout: 0, bodyTimeout: 0 }));
});

// The Cloud Tasks emulator reports no response that is not a success. `make run` shows these lines.
workAround("Failed deliveries of Cloud Tasks will not be shown", (from) => {
  const { TaskQueue, TaskStatus } = require(path.join(path.dirname(from), "lib/emulator/taskQueue.js"));
  const { runTask } = TaskQueue.prototype;
  TaskQueue.prototype.runTask = async function (place) {
    const { task, metadata } = this.dispatches[place];
    const { previousResponse } = metadata;
    const running = runTask.call(this, place); // has sent the header with the previous response
    metadata.previousResponse = null;
    await running;
    const status = metadata.previousResponse;
    metadata.previousResponse ??= previousResponse;
    if (metadata.status !== TaskStatus.RETRY) return;
    const { task_name, leg } = task.httpRequest.body;
    const ended = status === null ? "no response" : `HTTP ${status}`;
    console.warn(`Cloud Tasks: leg ${leg} of ${task_name}, attempt ${metadata.currentAttempt}: ${ended}`);
  };
});

// After a change of the code, firebase-tools ends the workers with the old code. It ends their shells only, and the Python
// processes stay. With exec, the shell becomes the Python process.
workAround("Processes with old code will stay until the stack ends", (from) => {
  const python = require(path.join(path.dirname(from), "lib/functions/python.js"));
  const { runWithVirtualEnv } = python;
  python.runWithVirtualEnv = (command, ...others) => runWithVirtualEnv(["exec", ...command], ...others);
});

// Node keeps connections to Python workers open, and workers close idle ones after two seconds. A request sent at that
// moment is lost, so each request gets a new connection.
http.globalAgent = new http.Agent();

function workAround(consequence, apply) {
  try {
    apply(require.resolve("firebase-tools/package.json"));
  } catch (error) {
    console.warn(`${consequence}: ${error.message}`);
  }
}
