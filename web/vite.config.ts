// The page's build: every file is the page's own, so that a strict Content-Security-Policy holds.
import { defineConfig } from "vite";

export default defineConfig({
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // no data: address, which the policy would refuse
    modulePreload: { polyfill: false },
  },
});
