#!/usr/bin/env node
// What the package installs as `queue-latency`: main.ts with the flags of Node.js that `npm start` gives, in the same process. A first line
// cannot give them everywhere: the `env` of BusyBox knows no -S.
import { fileURLToPath } from "node:url";

const flags = ["--max-semi-space-size=16", "--heap-growing-percent=100"];
const main = fileURLToPath(new URL("./main.ts", import.meta.url));

if ("execve" in process && process.platform !== "win32") {
  const { execPath, execArgv, argv, env } = process;
  process.execve(execPath, [execPath, ...execArgv, ...flags, main, ...argv.slice(2)], env);
}
// Windows has no execve: there it runs without the flags.
await import("./main.ts");
