import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import packageJson from "../../package.json" with { type: "json" };
import { createApp } from "../../src/app.ts";
import { loadConfig } from "../../src/config.ts";
import type { Logger } from "../../src/runtime/logger.ts";
import { silentLogger } from "./logger.ts";

type Env = Readonly<Record<string, string>>;

/** A server in a process of its own, as `npm start` runs it. */
export interface TestServer extends AsyncDisposable {
  /** Such as `http://127.0.0.1:41234`. */
  readonly url: string;
  readonly pid: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Sends SIGTERM, and waits. @returns the exit code. */
  stop(): Promise<number | null>;
  /** Sends SIGKILL, and waits. */
  kill(): Promise<void>;
}

/** Runs src/main.ts until it ends by itself. */
export async function runServer(env: Env): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const { child, stdout, stderr } = spawnServer(env);
  const [code] = (await once(child, "close")) as [number | null];
  return { code, stdout: stdout(), stderr: stderr() };
}

/** Starts src/main.ts on a free port, with nothing in its environment but what is given; resolves when it is ready. */
export async function startServer(env: Env): Promise<TestServer> {
  const { child, stdout, stderr } = spawnServer({ PORT: "0", ...env });
  const closed = once(child, "close");
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout?.on("data", () => {
      const found = /http:\/\/\S+(?=\/graphql)/.exec(stdout());
      if (found !== null) resolve(found[0]);
    });
    child.once("close", () => reject(new Error(`the server ended: ${stdout()}${stderr()}`)));
  });
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await closed;
  };
  return {
    url,
    pid: child.pid ?? -1,
    stdout,
    stderr,
    async stop() {
      await end("SIGTERM");
      return child.exitCode;
    },
    kill: () => end("SIGKILL"),
    [Symbol.asyncDispose]: () => end("SIGTERM"),
  };
}

/** What `npm start` gives to Node. */
const startArgs: readonly string[] = packageJson.scripts.start.split(" ").slice(2);

function spawnServer(env: Env): { child: ChildProcess; stdout: () => string; stderr: () => string } {
  const root = new URL("../..", import.meta.url);
  const args = startArgs.map((arg) => (arg === "src/main.ts" ? new URL(arg, root).pathname : arg));
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  // An operator who ends the test process in the middle of a test must not leave a server behind.
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  child.once("exit", () => process.off("exit", killAtExit));
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  return { child, stdout: () => stdout, stderr: () => stderr };
}

/** The whole app in this process, on a free port. */
export async function startApp(
  env: Env,
  logger: Logger = silentLogger,
): Promise<AsyncDisposable & { readonly url: string; stop(): Promise<void> }> {
  const app = createApp(loadConfig({ PORT: "0", ...env }), logger);
  await app.start();
  return { url: app.url, stop: app.stop, [Symbol.asyncDispose]: app.stop };
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: GraphQLAnswer;
}

export interface GraphQLAnswer {
  // biome-ignore lint/suspicious/noExplicitAny: each test knows the shape of what it asked for
  readonly data?: any;
  readonly errors?: readonly { readonly message: string; readonly extensions: Record<string, unknown> }[];
  readonly extensions?: { readonly cost?: Cost };
}

export interface Cost {
  readonly requestedQueryCost: number;
  readonly actualQueryCost: number | null;
  readonly throttleStatus: Budget;
  readonly recording?: {
    readonly requestedCost: number;
    readonly actualCost: number | null;
    readonly throttleStatus: Budget;
  };
}

export interface Budget {
  readonly maximumAvailable: number;
  readonly currentlyAvailable: number;
  readonly restoreRate: number;
}

/** Posts a query (or a batch, given as an array) and reads the answer. */
export async function ask(url: string, query: string, variables: object = {}): Promise<Answer> {
  return post(url, { query, variables });
}

export async function post(url: string, body: unknown, headers: Env = {}): Promise<Answer> {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  return {
    status: response.status,
    headers: response.headers,
    body: (await response.json()) as GraphQLAnswer,
  };
}
