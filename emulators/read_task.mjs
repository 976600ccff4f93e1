// Reads tasks' results as an application does: with the Firebase JavaScript SDK, signed in, through the callable
// get_task_data. Prints one line of JSON per task: {task, ok, size, count, first} or {task, ok, code, message}.
// Exit codes: 0 all tasks were read, 1 a task could not be read or the SDK is not installed, 2 no task was named.
//
//   node emulators/read_task.mjs TASK... [--user viewer@example.com]
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
const { deleteApp, initializeApp } = await load("firebase/app");
const { connectAuthEmulator, getAuth, signInWithEmailAndPassword, signOut } = await load("firebase/auth");
const { connectFunctionsEmulator, getFunctions, httpsCallable } = await load("firebase/functions");

const { values, positionals: tasks } = parseArgs({
  allowPositionals: true,
  options: {
    user: { type: "string", default: "operator@example.com" },
    password: { type: "string", default: "nx-tasks-demo" },
  },
});

if (tasks.length === 0) {
  console.error("name at least one task: node emulators/read_task.mjs TASK... [--user viewer@example.com]");
  process.exit(2);
}

// The stack's environment contains the addresses; without it, those of firebase.json are used.
const { auth, functions } = JSON.parse(readFileSync(new URL("../firebase.json", import.meta.url), "utf8")).emulators;
const authHost = process.env.FIREBASE_AUTH_EMULATOR_HOST ?? `${auth.host}:${auth.port}`;
const functionsUrl = new URL(process.env.NX_FUNCTIONS_URL ?? `http://${functions.host}:${functions.port}`);
const region = process.env.NX_TASKS_REGION ?? regionOfStack();

const app = initializeApp({ projectId: "demo-nx-tasks", apiKey: "demo" });
connectAuthEmulator(getAuth(app), `http://${authHost}`, { disableWarnings: true });
connectFunctionsEmulator(getFunctions(app, region), functionsUrl.hostname, Number(functionsUrl.port));
try {
  await signInWithEmailAndPassword(getAuth(app), values.user, values.password);
} catch (error) {
  const reasons = {
    "auth/network-request-failed": `the local stack does not respond at ${authHost}; start it with make run`,
    "auth/user-not-found": `unknown user ${values.user}; use operator@example.com or viewer@example.com`,
    "auth/wrong-password": `wrong password for ${values.user}; the demo's is nx-tasks-demo`,
    "auth/user-disabled": `the account ${values.user} is disabled`,
  };
  console.error(reasons[error.code] ?? `could not sign in as ${values.user}: ${error.message}`);
  process.exit(1);
}

const getTaskData = httpsCallable(getFunctions(app, region), "get_task_data");
for (const task of tasks) {
  const answer = await read(task);
  console.log(JSON.stringify({ task, ...answer }));
  if (!answer.ok) process.exitCode = 1;
}
await signOut(getAuth(app));
await deleteApp(app);

// Loads a module of the SDK, which the set-up installs.
async function load(name) {
  try {
    return await import(name);
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    console.error("the Firebase SDK is not installed in emulators/node_modules; run make run or make demo once");
    process.exit(1);
  }
}

// The functions' region that the running stack has discovered.
function regionOfStack() {
  try {
    return JSON.parse(readFileSync(new URL("../.stack/functions.json", import.meta.url), "utf8")).location;
  } catch {
    return undefined; // no stack has been started here; use the SDK's default
  }
}

async function read(task_name) {
  try {
    const { data } = await getTaskData({ task_name });
    const size = Buffer.byteLength(JSON.stringify(data));
    if (typeof data !== "object" || data === null) return { ok: true, size, count: 1, first: data };
    const records = Array.isArray(data) ? data : Object.entries(data);
    return { ok: true, size, count: records.length, first: records[0] ?? null };
  } catch (error) {
    return { ok: false, code: error.code ?? "unknown", message: error.message };
  }
}
