// Polls the service. A poll carries the current version; polls are rarer while the page is hidden, and back off while
// the service fails. The last value stays, with its age.
import { useEffect, useReducer, useRef, useState } from "preact/hooks";
import { CallError } from "./firebase";
import type { Unmodified } from "./wire";

const HIDDEN_SECONDS = 60;
const MAX_BACK_OFF_SECONDS = 60;

interface Versioned {
  version: string;
  now?: string;
}

export interface Live<Value> {
  value: Value | null;
  /** When the service last confirmed the value, in milliseconds by the server's clock. */
  at: number | null;
  error: CallError | null;
  /** Time of the next poll, in milliseconds by this machine's clock. */
  again: number | null;
  refresh: () => void;
}

/** Milliseconds by which the server's clock is ahead of this machine's. */
let ahead = 0;

/** The server's time, estimated from its last response; ages and remaining times use it. */
export const serverNow = (): number => Date.now() + ahead;

class Poller<Value extends Versioned> {
  value: Value | null = null;
  at: number | null = null;
  error: CallError | null = null;
  again: number | null = null;
  private failures = 0;
  private timer = 0;
  private polling = false;
  private stopped = false;
  private pollAgain = false;

  constructor(
    private readonly load: (version: string | null) => Promise<Value | Unmodified>,
    private readonly pollSeconds: (value: Value | null) => number,
    private readonly changed: () => void,
  ) {
    document.addEventListener("visibilitychange", this.onVisible);
    addEventListener("online", this.refresh);
    this.refresh();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    document.removeEventListener("visibilitychange", this.onVisible);
    removeEventListener("online", this.refresh);
  }

  private readonly onVisible = (): void => {
    if (document.visibilityState === "visible") this.refresh();
  };

  readonly refresh = (): void => {
    clearTimeout(this.timer);
    if (this.polling) this.pollAgain = true;
    else void this.poll();
  };

  private async poll(): Promise<void> {
    this.polling = true;
    this.pollAgain = false;
    const began = Date.now();
    try {
      const answer = await this.load(this.value?.version ?? null);
      if (answer.now !== undefined) ahead = Date.parse(answer.now) - (began + Date.now()) / 2;
      if (!("not_modified" in answer)) this.value = answer;
      this.at = serverNow();
      this.error = null;
      this.failures = 0;
    } catch (error) {
      this.error = error instanceof CallError ? error : new CallError("unknown", String(error));
      this.failures += 1;
    }
    this.polling = false;
    if (this.stopped) return;
    const pauseSeconds = this.pollAgain ? 0 : this.pauseSeconds();
    this.again = Date.now() + pauseSeconds * 1000;
    this.timer = window.setTimeout(this.refresh, pauseSeconds * 1000);
    this.changed();
  }

  private pauseSeconds(): number {
    if (this.error) {
      const requested = Number(this.error.details["retry_after_seconds"] ?? 0);
      const backOff = Math.min(MAX_BACK_OFF_SECONDS, 2 ** this.failures) * (0.75 + Math.random() / 2);
      return Math.max(requested, backOff);
    }
    const pollSeconds = this.pollSeconds(this.value);
    return document.visibilityState === "visible" ? pollSeconds : Math.max(HIDDEN_SECONDS, pollSeconds);
  }
}

/**
 * Keep a value up to date while a component is shown.
 *
 * @param key Identifies the value; a new key discards the old value.
 * @param load Fetches the value, given the current version.
 * @param pollSeconds Seconds between a response and the next poll.
 * @param nudge A change of it triggers a poll at once.
 */
export function useLive<Value extends Versioned>(
  key: string,
  load: (version: string | null) => Promise<Value | Unmodified>,
  pollSeconds: (value: Value | null) => number,
  nudge = "",
): Live<Value> {
  const [, changed] = useReducer((count: number, _: void) => count + 1, 0);
  const poller = useRef<{ key: string; poller: Poller<Value> } | null>(null);
  useEffect(() => {
    const started = new Poller(load, pollSeconds, () => changed());
    poller.current = { key, poller: started };
    return () => started.stop();
  }, [key]);
  const first = useRef(true);
  useEffect(() => {
    if (!first.current) poller.current?.poller.refresh();
    first.current = false;
  }, [nudge]);
  const current = poller.current?.key === key ? poller.current.poller : null;
  return {
    value: current?.value ?? null,
    at: current?.at ?? null,
    error: current?.error ?? null,
    again: current?.again ?? null,
    refresh: () => poller.current?.poller.refresh(),
  };
}

const ticking = new Set<() => void>();
setInterval(() => document.visibilityState === "visible" && ticking.forEach((tick) => tick()), 1000);

/** The server's time, updated each second. */
export function useNow(): number {
  const [now, set] = useState(serverNow);
  useEffect(() => {
    const tick = (): void => set(serverNow());
    ticking.add(tick);
    return () => void ticking.delete(tick);
  }, []);
  return now;
}

const MAX_PAUSE_SECONDS = 15;

/**
 * Retry until success; the browser's `online` event triggers the next try at once.
 *
 * @param failed Called with the error of each try.
 * @returns A function that ends the tries.
 */
export function untilDone(work: () => Promise<void>, failed: (error: unknown) => void): () => void {
  let [tries, timer, ended, busy] = [0, 0, false, false];
  const attempt = (): void => {
    if (busy) return;
    busy = true;
    clearTimeout(timer);
    work().then(stop, (error: unknown) => {
      busy = false;
      if (ended) return;
      failed(error);
      tries += 1;
      timer = window.setTimeout(attempt, Math.min(MAX_PAUSE_SECONDS, 2 ** tries) * 1000);
    });
  };
  const stop = (): void => {
    ended = true;
    clearTimeout(timer);
    removeEventListener("online", attempt);
  };
  addEventListener("online", attempt);
  attempt();
  return stop;
}

/** A module that is loaded when it is first shown; undefined until then, null while loading fails. */
export function useModule<Module>(load: () => Promise<Module>): Module | undefined | null {
  const [module, set] = useState<Module | undefined | null>(undefined);
  useEffect(() => {
    let failed = false;
    return untilDone(
      async () => {
        const loaded = await load().catch(async (error: unknown) => {
          // Browsers may cache a failed import: once the server responds, only a reload helps.
          if (failed && (await fetch("/config.json", { cache: "no-store" })).ok) location.reload();
          throw error;
        });
        set(() => loaded);
      },
      () => {
        failed = true;
        set(null);
      },
    );
  }, []);
  return module;
}
