// `npm run demo`: the server, with four queues that live. Settings are the server's.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { constants } from "node:os";
import { join } from "node:path";
import { buildDashboard } from "./build-dashboard.ts";
import { printAlerts } from "./demo-alert-printer.ts";
import { driveQueues } from "./demo-driver.ts";
import { demoPlans } from "./demo-model.ts";

const here = (file: string) => join(import.meta.dirname, file);
const settings = {
  // Apart from where the server keeps what is real.
  DATA_DIR: process.env.DATA_DIR || "./.data/demo",
  ALERTS_FILE: process.env.ALERTS_FILE || here("demo-alerts.yml"),
  OBJECTIVES_FILE: process.env.OBJECTIVES_FILE || here("demo-objectives.yml"),
  LOG_LEVEL: process.env.LOG_LEVEL || "warn",
  // With no tokens, it is for this machine only.
  API_TOKENS_FILE: "",
};

await buildDashboard();
const server = spawn(process.execPath, [here("../src/main.ts")], {
  env: { ...process.env, ...settings },
  stdio: ["ignore", "pipe", "inherit"],
  // A process group of its own: Ctrl-C is for us, and the server is stopped when the producers have.
  detached: true,
});
const serverEnded = once(server, "exit");
process.once("exit", () => server.kill());

const stopping = new AbortController();
let wasAsked = false;
// For npm passes on a Ctrl-C that this process has had already, the second one is the same as the first.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    wasAsked = true;
    stopping.abort();
  });
}
void serverEnded.then(() => stopping.abort());

try {
  const graphiql = await ready(server);
  if (graphiql !== null) {
    const { signal } = stopping;
    const options = { url: graphiql, signal, say: print };
    let news = Promise.resolve();
    const begun = () => {
      welcome(graphiql);
      news = printAlerts(options);
    };
    await driveQueues({ ...options, plans: demoPlans, begun });
    await news;
  }
} catch (error) {
  process.exitCode = 1;
  console.error(error instanceof Error ? error.message : error);
}

server.kill("SIGTERM");
const [code, signal] = (await serverEnded) as [number | null, NodeJS.Signals | null];
if (!wasAsked && signal !== null) console.error(`The server was ended by ${signal}.`);
process.exitCode ??= code ?? (wasAsked ? 0 : 128 + constants.signals[signal ?? "SIGTERM"]);

/** Waits until the server says where it is. @returns null when it has ended instead, or we are to. */
async function ready({ stdout }: ChildProcess): Promise<string | null> {
  let said = "";
  const { promise, resolve } = Promise.withResolvers<string | null>();
  stdout?.on("data", (chunk: Buffer) => {
    said += chunk.toString();
    const url = /http:\/\/\S+\/graphql/.exec(said)?.[0];
    if (url !== undefined) resolve(url);
  });
  stopping.signal.addEventListener("abort", () => resolve(null));
  return await promise;
}

function welcome(graphiql: string): void {
  const width = Math.max(...demoPlans.map(({ queue }) => queue.length));
  print(`Dashboard: ${graphiql.replace(/graphql$/, "")}`);
  print("Four queues live, driven by simulated producers and workers through the API:");
  for (const { queue, story } of demoPlans) print(`  ${queue.padEnd(width)}  ${story}`);
  print(`GraphiQL: ${graphiql}`);
  print("An alert of demo/falling-behind fires soon, and ends when more workers have come.");
  print("Ctrl-C stops the demo and its server.");
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
