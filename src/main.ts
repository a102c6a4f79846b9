import { pino } from "pino";
import { createApp } from "./app.ts";
import { type Config, loadConfig } from "./config.ts";
import { StartError } from "./core/errors.ts";
import { monotonicClock } from "./runtime/clock.ts";

const usage = `usage: script/server, or npm start

It takes no arguments. Settings are environment variables, as in PORT=8080 script/server; docs/configuration.md lists them.
`;

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

/** An argument that is ignored would be taken for a setting. @throws StartError */
function checkArguments([argument]: readonly string[]): void {
  if (argument === undefined) return;
  if (argument !== "--help" && argument !== "-h")
    throw new StartError(`unknown argument ${argument}\n${usage}`);
  process.stdout.write(usage);
  process.exit(0);
}

try {
  checkArguments(process.argv.slice(2));
  await run(loadConfig(process.env));
} catch (error) {
  fail(error);
}
