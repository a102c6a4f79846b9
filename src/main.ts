import { pino } from "pino";
import { createApp } from "./app.ts";
import { readArguments } from "./cli/arguments.ts";
import { check } from "./cli/check.ts";
import { findingsTable } from "./cli/finding.ts";
import { helpText } from "./cli/help.ts";
import { makeToken } from "./cli/token.ts";
import { type Config, loadConfig } from "./config.ts";
import { StartError } from "./core/errors.ts";
import { monotonicClock } from "./runtime/clock.ts";
import { packageVersion } from "./runtime/version.ts";
import { createSource } from "./sources/create-source.ts";

/** A mistake of the operator is one clear message; a mistake of ours shows where it happened. */
function fail(error: unknown): never {
  process.stderr.write(`${error instanceof StartError ? error.message : describe(error)}\n`);
  process.exit(1);
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

async function run(config: Config): Promise<void> {
  const logger = pino({ level: config.logLevel, base: null }, pino.destination({ dest: 2, sync: true }));
  // The reader of our output may end (`script/server | head -1`); the server goes on.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  for (const { message, ...fields } of config.warnings) logger.warn(fields, message);
  const app = createApp(config, logger);
  let stopping: Promise<void> | undefined;
  let stoppingSinceMs = 0;
  const stop = (signal: NodeJS.Signals) => {
    if (stopping !== undefined) {
      // One Ctrl-C arrives twice under `npm start`: from the terminal, and passed on by npm.
      if (monotonicClock.now() - stoppingSinceMs < 1_000) return;
      logger.warn({ signal }, "stopping at once: asked again");
      process.exit(130);
    }
    stoppingSinceMs = monotonicClock.now();
    logger.info({ signal }, "stopping");
    stopping = app.stop();
    stopping.then(() => process.exit(0), fail);
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  // The terminal was closed.
  process.on("SIGHUP", stop);
  try {
    await app.start();
  } catch (error) {
    if (stopping !== undefined) return;
    await app.stop().catch(() => undefined);
    throw error;
  }
  if (stopping !== undefined) return;
  process.stdout.write(`queue-latency is ready. Dashboard: ${app.url}/ GraphiQL: ${app.url}/graphql\n`);
}

/** Prints what was found; the exit code is 1 if anything is wrong. */
async function runCheck(config: Config): Promise<void> {
  process.stdout.write(`queue-latency ${packageVersion()} on Node ${process.versions.node}\n\n`);
  const findings = await check(config, (source, sink, logger) => createSource(config, source, sink, logger));
  process.stdout.write(findingsTable(findings));
  process.exitCode = findings.some(({ status }) => status === "wrong") ? 1 : 0;
}

try {
  const { command, settings, words } = readArguments(process.argv.slice(2));
  const env = { ...process.env, ...settings };
  if (command === "help") process.stdout.write(helpText());
  else if (command === "version") process.stdout.write(`${packageVersion()}\n`);
  else if (command === "token") await makeToken(words, env.API_TOKENS_FILE ?? "");
  else if (command === "check") await runCheck(loadConfig(env));
  else await run(loadConfig(env));
} catch (error) {
  fail(error);
}
