// Loaded into firebase-tools before its own code, to mend four things that a person would meet here. Where another
// version has no place for a mend, it is left out, and said.

const http = require("node:http");
const path = require("node:path");

// The Auth emulator, when it starts, compiles a validator for each request of Google's Identity API: most of the time
// that a start of the stack would take, for the ten requests that a session makes. The library can compile each at its
// first use; firebase-tools doesn't ask for that.
mend("The Auth emulator will start slowly", (from) => {
  const exegesis = require(require.resolve("exegesis-express", { paths: [from] }));
  const { middleware } = exegesis;
  exegesis.middleware = (document, options) =>
    middleware(document, { ...options, lazyCompileValidationSchemas: true });
});

// For each Python worker firebase-tools looks for a free port, at random, and the worker takes it seconds later: two that
// start together may get the same, and one task's delivery then runs another. No port is given out twice here.
mend("Two functions that start together may meet", (from) => {
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

// For each worker firebase-tools asks Google's Secret Manager for the function's secrets, with whatever credentials it
// finds. Secrets of the local stack are in its environment, and nothing real is asked.
mend("Secrets will be looked for in Google's Secret Manager", (from) => {
  const manager = require(path.join(path.dirname(from), "lib/gcp/secretManager.js"));
  manager.accessSecretVersion = async (_project, name) => {
    if (!process.env[name]) throw new Error(`the stack's environment has no ${name}`);
    return process.env[name];
  };
});

// Node keeps a connection to a Python worker for the next request, and the worker ends it after two seconds of silence:
// a request that comes just then is lost. Each request has a connection of its own here.
http.globalAgent = new http.Agent();

function mend(otherwise, how) {
  try {
    how(require.resolve("firebase-tools/package.json"));
  } catch (error) {
    console.warn(`${otherwise}: ${error.message}`);
  }
}
