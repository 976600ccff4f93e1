// The way to the project: its configuration from Hosting, who is signed in, and the callables.
// Everything that knows the Firebase SDK is here; errors leave it as CallError.
import { initializeApp } from "firebase/app";
import {
  type Auth,
  connectAuthEmulator,
  indexedDBLocalPersistence,
  initializeAuth,
  isSignInWithEmailLink,
  onIdTokenChanged,
  sendSignInLinkToEmail,
  signInWithEmailAndPassword,
  signInWithEmailLink,
  signOut,
} from "firebase/auth";
import { connectFunctionsEmulator, type Functions, FunctionsError, getFunctions, httpsCallable } from "firebase/functions";

export interface Person {
  email: string;
  role: string | null;
  mayChange: boolean;
}

/** What to make of a call that failed, and what its reader can do about it. */
export class CallError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly details: Record<string, unknown> = {},
  ) {
    super(message);
  }

  get unreachable(): boolean {
    return this.code === "unreachable";
  }
}

export interface Project {
  id: string;
  /** The Firebase emulators on this machine, where people have passwords. */
  local: boolean;
}

let auth: Auth;
let functions: Functions;
let callablesUrl = "";
let appCheckToken: (() => Promise<string>) | null = null;

export async function connect(): Promise<Project> {
  const [config, own] = await Promise.all([json("/__/firebase/init.json"), json("/config.json")]);
  const projectId = String(config["projectId"]);
  // Firebase's own rule: projects of this name exist on emulators alone.
  const local = projectId.startsWith("demo-");
  const emulators = local ? await findEmulators() : null;
  const app = initializeApp(config);
  auth = initializeAuth(app, { persistence: indexedDBLocalPersistence });
  // Whoever serves the page writes the region there: `firebase deploy` and the local stack.
  const region = typeof own["region"] === "string" ? own["region"] : "us-central1";
  functions = getFunctions(app, region);
  callablesUrl = `https://${region}-${projectId}.cloudfunctions.net`;
  if (emulators) {
    // At once: whoever is remembered here is looked up a moment later.
    connectAuthEmulator(auth, `http://${emulators.auth.host}:${emulators.auth.port}`, { disableWarnings: true });
    connectFunctionsEmulator(functions, emulators.functions.host, emulators.functions.port);
    callablesUrl = `http://${emulators.functions.host}:${emulators.functions.port}/${projectId}/${region}`;
  }
  const siteKey = own["appCheckSiteKey"];
  if (!local && typeof siteKey === "string" && siteKey !== "") {
    const { getToken, initializeAppCheck, ReCaptchaEnterpriseProvider } = await import("firebase/app-check");
    const appCheck = initializeAppCheck(app, { provider: new ReCaptchaEnterpriseProvider(siteKey), isTokenAutoRefreshEnabled: true });
    appCheckToken = async () => (await getToken(appCheck)).token;
  }
  return { id: projectId, local };
}

async function json(path: string): Promise<Record<string, unknown>> {
  const answer = await fetch(path);
  if (!answer.ok) throw new CallError("unreachable", `${path} answered ${answer.status}`);
  return (await answer.json()) as Record<string, unknown>;
}

interface Address {
  host: string;
  port: number;
}

async function findEmulators(): Promise<{ auth: Address; functions: Address }> {
  // Hosting's emulator tells where the others are in a script for pages of another kind.
  const script = await (await fetch("/__/firebase/init.js?useEmulator=true")).text();
  const said = /firebaseEmulators = (\{[^;]*\});/.exec(script);
  if (!said) throw new CallError("unreachable", "Hosting's emulator does not tell where the others are");
  return JSON.parse(said[1] as string) as { auth: Address; functions: Address };
}

/** Tells who is signed in, now and at each change; null while nobody is. */
export function onPerson(tell: (person: Person | null) => void): void {
  onIdTokenChanged(auth, async (user) => {
    if (user === null) return tell(null);
    const role = await user.getIdTokenResult().then(
      ({ claims }) => (typeof claims["role"] === "string" ? claims["role"] : null),
      () => null, // unreachable: the calls will tell
    );
    tell({ email: user.email ?? user.uid, role, mayChange: role === "operator" });
  });
}

export const leave = (): Promise<void> => signOut(auth);

const LINK_EMAIL = "nx-tasks-email";

export async function signInWithPassword(email: string, password: string): Promise<void> {
  await signInWithEmailAndPassword(auth, email, password).catch(refuse);
}

export async function sendLink(email: string): Promise<void> {
  await sendSignInLinkToEmail(auth, email, { url: location.origin, handleCodeInApp: true }).catch(refuse);
  localStorage.setItem(LINK_EMAIL, email);
}

export const cameByLink = (): boolean => isSignInWithEmailLink(auth, location.href);

/** The address that the link was asked for in this browser, if it was here. */
export const linkEmail = (): string => localStorage.getItem(LINK_EMAIL) ?? "";

export async function finishLink(email: string): Promise<void> {
  await signInWithEmailLink(auth, email, location.href).catch(refuse);
  localStorage.removeItem(LINK_EMAIL);
  history.replaceState(null, "", "/");
}

const REFUSALS: Record<string, string> = {
  "auth/network-request-failed": "The sign-in service can't be reached. Check the connection, then try again.",
  "auth/too-many-requests": "Too many attempts. Wait some minutes, then try again.",
  "auth/invalid-email": "This is no e-mail address. Check the spelling.",
  "auth/user-disabled": "This account is disabled. Whoever administers users can enable it.",
  "auth/invalid-action-code": "This link was used before, or is too old. Ask for a new one.",
  "auth/expired-action-code": "This link is too old. Ask for a new one.",
  "auth/operation-not-allowed": "This project has no sign-in of this kind. Enable e-mail links in Firebase Authentication.",
};

function refuse(error: { code?: string }): never {
  const code = error.code ?? "unknown";
  const said = REFUSALS[code] ?? (/password|credential|user-not-found/.test(code) ? "E-mail address and password don't match. Check both." : `Not signed in (${code}). Try again.`);
  throw new CallError(code, said);
}

/** Call a function of the project. */
export async function call<Answer>(name: string, data: object, seconds = 20): Promise<Answer> {
  const callable = httpsCallable<object, Answer>(functions, name, { timeout: seconds * 1000 });
  try {
    return (await callable(data)).data;
  } catch (error) {
    throw told(error, data);
  }
}

function told(error: unknown, asked: object): CallError {
  if (!(error instanceof FunctionsError)) return undecoded(error);
  const code = error.code.replace("functions/", "");
  const details = (error.details ?? {}) as Record<string, unknown>;
  const [, said = "", status = ""] = /^(.*?)(?: \[(\d+)\])?$/s.exec(error.message) ?? [];
  if (code === "deadline-exceeded") return new CallError("unreachable", "The service did not answer in time.");
  // The SDK's own word where the answer was none of a callable's; theirs are sentences.
  if (said === code) return new CallError("unreachable", status === "0" ? "The service can't be reached." : `The service is in trouble (HTTP ${status}).`);
  if (code === "unauthenticated") return new CallError(code, unauthenticated());
  const begins = "task_name" in asked && said.startsWith(String(asked.task_name));
  return new CallError(code, `${begins ? said : sentence(said)}.`, details);
}

/** A text as a sentence begins. */
const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

/** What the SDK throws when it has the answer and cannot make values of it, or when it has none. */
function undecoded(error: unknown): CallError {
  if (error instanceof Error && /cannot be decoded|is not a function/.test(error.message)) {
    return new CallError(
      "undecodable",
      "The result has a field that Firebase’s callable protocol cannot carry (@type, hasOwnProperty). It is stored under another name by the task’s next run; until then, download it.",
    );
  }
  return new CallError("unreachable", "The service can't be reached.");
}

/** The JSON of a task's result exactly as it is stored: no number is rounded, no field renamed. */
export async function resultJson(task: string): Promise<Blob> {
  const token = await auth.currentUser?.getIdToken();
  const headers: Record<string, string> = { "Content-Type": "application/json", Authorization: `Bearer ${token ?? ""}` };
  if (appCheckToken) headers["X-Firebase-AppCheck"] = await appCheckToken();
  const body = JSON.stringify({ data: { task_name: task } });
  const refuse = (error: unknown): never => {
    throw undecoded(error);
  };
  const answer = await fetch(`${callablesUrl}/get_task_data`, { method: "POST", headers, body }).catch(refuse);
  if (!answer.ok) {
    const { error } = (await answer.json().catch(() => ({ error: {} }))) as { error: { message?: string; status?: string; details?: Record<string, unknown> } };
    const code = (error.status ?? "internal").toLowerCase().replaceAll("_", "-");
    throw new CallError(code, `${sentence(error.message ?? `the service is in trouble (HTTP ${answer.status})`)}.`, error.details ?? {});
  }
  const whole = await answer.blob().catch(refuse); // the connection may break while it comes
  return whole.slice(RESULT_HEAD.length, whole.size - 1, "application/json"); // without `{"result":` and `}`
}

const RESULT_HEAD = '{"result":';

function unauthenticated(): string {
  return appCheckToken
    ? "The server knows neither this sign-in nor this page any more. Sign out and in again; if that does not help, check the site key in config.json against App Check's settings."
    : "The server refused this sign-in. Sign out and in again. If that does not help, the server asks for App Check and this page has no key: set appCheckSiteKey in config.json, or deploy the functions with NX_TASKS_APP_CHECK=off.";
}
