// Access to the project: its configuration from Hosting, sign-in, and the callables.
// Only this module uses the Firebase SDK; it reports errors as CallError.
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

/** A call that failed; the message states what to do about it. */
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
let cloudProject: string | null = null;
let appCheckToken: (() => Promise<string>) | null = null;

export async function connect(): Promise<Project> {
  const [config, own] = await Promise.all([json("/__/firebase/init.json"), json("/config.json")]);
  const projectId = String(config["projectId"]);
  // Firebase reserves this prefix for projects that exist only on emulators.
  const local = projectId.startsWith("demo-");
  const emulators = local ? await findEmulators() : null;
  cloudProject = local ? null : projectId;
  const app = initializeApp(config);
  auth = initializeAuth(app, { persistence: indexedDBLocalPersistence });
  // The deployment and the local stack write the region to config.json.
  const region = typeof own["region"] === "string" ? own["region"] : "us-central1";
  functions = getFunctions(app, region);
  callablesUrl = `https://${region}-${projectId}.cloudfunctions.net`;
  if (emulators) {
    // Connect before the SDK looks up the remembered user.
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
  if (!answer.ok) throw new CallError("unreachable", `GET ${path} returned HTTP ${answer.status}.`);
  return (await answer.json()) as Record<string, unknown>;
}

/** The id of the deployed project; null on the local stack. */
export const deployedProject = (): string | null => cloudProject;

interface Address {
  host: string;
  port: number;
}

async function findEmulators(): Promise<{ auth: Address; functions: Address }> {
  // The Hosting emulator publishes the other emulators' addresses only in this script.
  const script = await (await fetch("/__/firebase/init.js?useEmulator=true")).text();
  const found = /firebaseEmulators = (\{[^;]*\});/.exec(script);
  if (!found) throw new CallError("unreachable", "The Hosting emulator does not report the addresses of the other emulators.");
  return JSON.parse(found[1] as string) as { auth: Address; functions: Address };
}

/** Calls `notify` with the signed-in user, now and after each change; null means signed out. */
export function onPerson(notify: (person: Person | null) => void): void {
  onIdTokenChanged(auth, async (user) => {
    if (user === null) return notify(null);
    const role = await user.getIdTokenResult().then(
      ({ claims }) => (typeof claims["role"] === "string" ? claims["role"] : null),
      () => null, // Auth is unreachable; the calls report it
    );
    notify({ email: user.email ?? user.uid, role, mayChange: role === "operator" });
  });
}

export const endSession = (): Promise<void> => signOut(auth);

const LINK_EMAIL = "nx-tasks-email";
/** Query parameters that Firebase adds to a sign-in link. */
const LINK_PARAMETERS = ["apiKey", "oobCode", "mode", "lang", "continueUrl", "tenantId"];

export async function signInWithPassword(email: string, password: string): Promise<void> {
  await signInWithEmailAndPassword(auth, email, password).catch(throwCallError);
}

export async function sendLink(email: string): Promise<void> {
  await sendSignInLinkToEmail(auth, email, { url: location.href, handleCodeInApp: true }).catch(throwCallError);
  localStorage.setItem(LINK_EMAIL, email);
}

export const isSignInLink = (): boolean => isSignInWithEmailLink(auth, location.href);

/** The address for which this browser requested the link; "" if another one did. */
export const linkEmail = (): string => localStorage.getItem(LINK_EMAIL) ?? "";

export async function signInWithLink(email: string): Promise<void> {
  await signInWithEmailLink(auth, email, location.href).catch(throwCallError);
  localStorage.removeItem(LINK_EMAIL);
  const address = new URL(location.href); // of the view from which the link was requested
  for (const name of LINK_PARAMETERS) address.searchParams.delete(name);
  history.replaceState(null, "", `${address.pathname}${address.search}`);
}

/** Sentences for Firebase Auth's error codes. */
const SIGN_IN_ERRORS: Record<string, string> = {
  "auth/network-request-failed": "Cannot reach the sign-in service. Check your connection, then try again.",
  "auth/too-many-requests": "Too many attempts. Wait a few minutes, then try again.",
  "auth/quota-exceeded": "Firebase has sent too many sign-in links for this project today. Try again later.",
  "auth/invalid-email": "This e-mail address is not valid. Check the spelling.",
  "auth/user-disabled": "This account is disabled. Ask an administrator to enable it.",
  "auth/invalid-action-code": "This link has expired or was already used. Request a new one.",
  "auth/expired-action-code": "This link has expired. Request a new one.",
  "auth/operation-not-allowed": "E-mail links are not enabled in this project. Ask an administrator to enable them in Firebase Authentication.",
  "auth/admin-restricted-operation": "This e-mail address has no account. Ask an administrator to add you.",
  "auth/unauthorized-continue-uri": "This address of the page is not an authorised domain. Ask an administrator to add it in Firebase Authentication.",
  "auth/unauthorized-domain": "This address of the page is not an authorised domain. Ask an administrator to add it in Firebase Authentication.",
  "auth/internal-error": "The sign-in service failed. Try again in a few minutes.",
};

const WRONG_PASSWORD = "The e-mail address or the password is wrong. Check both.";
const UNKNOWN_SIGN_IN_ERROR = "Sign-in failed. Try again; if it fails again, ask an administrator.";

function throwCallError(error: { code?: string }): never {
  const code = error.code ?? "unknown";
  console.info("sign-in failed", code);
  const known = SIGN_IN_ERRORS[code] ?? (/password|credential|user-not-found/i.test(code) ? WRONG_PASSWORD : UNKNOWN_SIGN_IN_ERROR);
  throw new CallError(code, known);
}

/** Call a function of the project. */
export async function call<Answer>(name: string, data: object, timeoutSeconds = 20): Promise<Answer> {
  const callable = httpsCallable<object, Answer>(functions, name, { timeout: timeoutSeconds * 1000 });
  try {
    return (await callable(data)).data;
  } catch (error) {
    throw callError(error, data);
  }
}

function callError(error: unknown, request: object): CallError {
  if (!(error instanceof FunctionsError)) return undecoded(error);
  const code = error.code.replace("functions/", "");
  const details = (error.details ?? {}) as Record<string, unknown>;
  const [, message = "", status = ""] = /^(.*?)(?: \[(\d+)\])?$/s.exec(error.message) ?? [];
  if (code === "deadline-exceeded") return new CallError("unreachable", "The service did not respond in time.");
  // For a response that is not a callable's the SDK repeats the code; the callables return sentences.
  if (message === code) return new CallError("unreachable", status === "0" ? UNREACHABLE : `The service failed (HTTP ${status}).`);
  if (code === "unauthenticated") return new CallError(code, unauthenticated());
  const begins = "task_name" in request && message.startsWith(String(request.task_name));
  return new CallError(code, withFullStop(begins ? message : sentence(message)), details);
}

const UNREACHABLE = "Cannot reach the service.";

/** A text with a capital first letter. */
const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

/** A text with a full stop, unless it ends with one. */
const withFullStop = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);

/** The error for a response that the SDK cannot decode, or that never came. */
function undecoded(error: unknown): CallError {
  if (error instanceof Error && /cannot be decoded|is not a function/.test(error.message)) {
    return new CallError(
      "undecodable",
      "The result has a field that Firebase’s callable protocol cannot carry (@type, hasOwnProperty). The task’s next run renames it; until then, download the result.",
    );
  }
  return unreachable();
}

/** A request of a task's result, for a worker: its response has the result exactly as stored. */
export async function resultRequest(task: string): Promise<{ url: string; headers: Record<string, string>; body: string }> {
  const token = await auth.currentUser?.getIdToken().catch(throwUnreachable);
  const headers: Record<string, string> = { "Content-Type": "application/json", Authorization: `Bearer ${token ?? ""}` };
  if (appCheckToken) headers["X-Firebase-AppCheck"] = await appCheckToken().catch(throwUnreachable);
  return { url: `${callablesUrl}/get_task_data`, headers, body: JSON.stringify({ data: { task_name: task } }) };
}

function throwUnreachable(): never {
  throw unreachable();
}

/** The error for a connection that failed or broke. */
export const unreachable = (): CallError => new CallError("unreachable", UNREACHABLE);

/** The error for the response to `resultRequest` with a status other than 200. */
export function resultRefused(status: number, body: unknown): CallError {
  const { error = {} } = (body ?? {}) as { error?: { message?: string; status?: string; details?: Record<string, unknown> } };
  const code = (error.status ?? "internal").toLowerCase().replaceAll("_", "-");
  return new CallError(code, withFullStop(sentence(error.message ?? `the service failed (HTTP ${status})`)), error.details ?? {});
}

function unauthenticated(): string {
  return appCheckToken
    ? "The service rejected this sign-in or this page's App Check token. Sign out and in again. If that does not help, check the site key in config.json against App Check's settings."
    : "The service rejected this sign-in. Sign out and in again. If that does not help, the service may require App Check: set appCheckSiteKey in config.json, or deploy the functions with NX_TASKS_APP_CHECK=off.";
}
