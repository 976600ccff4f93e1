// The Firebase JavaScript SDK as an application uses it, led by the tests: a JSON object a line in, one out.
// In: {op, …}. Out: {ok: true, value} or {ok: false, code, message}.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../../emulators/package.json", import.meta.url));
const { initializeApp, setLogLevel } = require("firebase/app");
const auth = require("firebase/auth");
const firestore = require("firebase/firestore");
const functions = require("firebase/functions");
const storage = require("firebase/storage");

const env = process.env;
const split = (address) => [address.split(":")[0], Number(address.split(":")[1])];
const bucket = env.NX_TASKS_BUCKET;
setLogLevel("silent"); // the response contains the error
const app = initializeApp({ projectId: env.GOOGLE_CLOUD_PROJECT, apiKey: "demo", storageBucket: bucket });

const users = auth.getAuth(app);
auth.connectAuthEmulator(users, `http://${env.FIREBASE_AUTH_EMULATOR_HOST}`, { disableWarnings: true });
const database = firestore.getFirestore(app);
firestore.connectFirestoreEmulator(database, ...split(env.FIRESTORE_EMULATOR_HOST));
const callables = functions.getFunctions(app, env.NX_TASKS_REGION);
functions.connectFunctionsEmulator(callables, ...split(new URL(env.NX_FUNCTIONS_URL).host));
const objects = storage.getStorage(app);
storage.connectStorageEmulator(objects, ...split(new URL(env.STORAGE_EMULATOR_HOST).host));
objects.maxOperationRetryTime = objects.maxUploadRetryTime = 2000; // an outage fails soon

const document = (path) => firestore.doc(database, path);
const object = (path) => storage.ref(objects, path);

const operations = {
  async signIn({ email, password }) {
    await auth.signInWithEmailAndPassword(users, email, password);
    return (await users.currentUser.getIdTokenResult()).claims.role ?? null;
  },
  signInAnonymously: async () => (await auth.signInAnonymously(users)).user.isAnonymous,
  signOut: () => auth.signOut(users),
  call: async ({ name, data }) => (await functions.httpsCallable(callables, name)(data)).data,

  get: async ({ path }) => (await firestore.getDocFromServer(document(path))).data(),
  set: ({ path }) => firestore.setDoc(document(path), { by: "a client" }),
  update: ({ path }) => firestore.updateDoc(document(path), { status: "completed" }),
  delete: ({ path }) => firestore.deleteDoc(document(path)),
  list: async ({ path }) => (await firestore.getDocsFromServer(firestore.collection(database, path))).size,
  group: async ({ path }) => (await firestore.getDocsFromServer(firestore.collectionGroup(database, path))).size,

  download: async ({ path }) => (await storage.getBytes(object(path))).byteLength,
  link: ({ path }) => storage.getDownloadURL(object(path)),
  upload: async ({ path }) => (await storage.uploadString(object(path), "[]")).ref.fullPath,
  remove: ({ path }) => storage.deleteObject(object(path)),
  objects: async ({ path }) => (await storage.listAll(object(path))).items.length,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { op, ...options } = JSON.parse(line);
  let answer;
  try {
    answer = { ok: true, value: (await operations[op](options)) ?? null };
  } catch (error) {
    answer = { ok: false, code: error.code ?? error.name, message: error.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit(0); // open streams to the emulators would keep it
