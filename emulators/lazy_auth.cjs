// Loaded into firebase-tools before its own code. The Auth emulator, when it starts, compiles a validator for each
// request of Google's Identity API: most of the time that a start of the stack would take, for the ten requests that a
// session makes. The library that does it can compile each at its first use; firebase-tools doesn't ask for that.
try {
  const tools = require.resolve("firebase-tools/package.json");
  const exegesis = require(require.resolve("exegesis-express", { paths: [tools] }));
  const { middleware } = exegesis;
  exegesis.middleware = (document, options) =>
    middleware(document, { ...options, lazyCompileValidationSchemas: true });
} catch (error) {
  // Another firebase-tools, another library: the stack starts slower, and that is all.
  console.warn(`The Auth emulator will start slowly: ${error.message}`);
}
