// Constants that vite.config.ts sets in the build.

/** The version of nx-tasks. */
declare const __VERSION__: string;
/** The commit that was built, with "+" if files had changed since; null if it was built without git. */
declare const __COMMIT__: string | null;
