// Loaded into firebase-tools before its own code, to mend two things that a person would meet here. Where another
// version has no place for a mend, it is left out, and said.

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

function mend(otherwise, how) {
  try {
    how(require.resolve("firebase-tools/package.json"));
  } catch (error) {
    console.warn(`${otherwise}: ${error.message}`);
  }
}
