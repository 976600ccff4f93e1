// The page's build: every file is the page's own, so that a strict Content-Security-Policy holds.
/// <reference types="node" />
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { defineConfig } from "vite";
import { version } from "./package.json";

/** The checkout's commit, with "+" if files have changed since; null in a copy without git. */
function commit(): string | null {
  if (!existsSync(new URL("../.git", import.meta.url))) return null; // git would find the repository of an outer folder
  const git = (...args: string[]): string => execFileSync("git", args, { encoding: "utf-8", stdio: ["ignore", "pipe", "ignore"] }).trim();
  try {
    return git("rev-parse", "--short=10", "HEAD") + (git("status", "--porcelain", "--untracked-files=no") ? "+" : "");
  } catch {
    return null;
  }
}

export default defineConfig({
  define: { __VERSION__: JSON.stringify(version), __COMMIT__: JSON.stringify(commit()) },
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // no data: address, which the policy would refuse
    modulePreload: { polyfill: false },
  },
});
