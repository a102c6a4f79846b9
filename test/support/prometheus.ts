import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { attempts, freePort } from "./redis.ts";
import { hangsAfterMs } from "./until.ts";

/** Why tests with Prometheus are to be skipped; null when they can run, and in CI, where they must. */
export const whyNoPrometheus: string | null =
  process.env.CI === "true" || programPath("prometheus") !== null
    ? null
    : "Prometheus is not there: run script/install-prometheus, which needs apt-get";

/** Where script/install-prometheus has put a program, or where else it is on the PATH; null when it is nowhere. */
export function programPath(name: "prometheus" | "promtool"): string | null {
  const unpacked = join(import.meta.dirname, "../../.cache/prometheus/usr/bin");
  const dirs = [unpacked, ...(process.env.PATH ?? "").split(delimiter)];
  return dirs.map((dir) => join(dir, name)).find(isExecutable) ?? null;
}

/** What promtool says, of what it is given. */
export async function promtool(
  args: readonly string[],
  input: string | Buffer = "",
): Promise<{ readonly code: number | null; readonly output: string }> {
  const child = spawn(programPath("promtool") ?? "promtool", args, { stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
  // What it refuses it does not read to its end.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const [code] = (await once(child, "close")) as [number | null];
  return { code, output };
}

/** A real Prometheus on a free port of 127.0.0.1, in a temporary directory. */
export interface TestPrometheus extends AsyncDisposable {
  /** The answer of its HTTP API, such as to `query?query=up`. */
  // biome-ignore lint/suspicious/noExplicitAny: each test knows the shape of what it asked for
  api(pathAndQuery: string): Promise<any>;
  /** By the labels of the series, without its name, what a query has for result now. */
  values(
    query: string,
  ): Promise<{ readonly labels: Readonly<Record<string, string>>; readonly value: number }[]>;
}

/** @param config with intervals of a second or so: what is in prometheus.yml. */
export async function startPrometheus(config: string): Promise<TestPrometheus> {
  // Between finding a port free and binding it another process may take it: then another one is tried.
  return await attempts(5, () => launch(config));
}

async function launch(config: string): Promise<TestPrometheus> {
  const dir = await mkdtemp(join(tmpdir(), "ql-prometheus-"));
  await writeFile(join(dir, "prometheus.yml"), config);
  const port = await freePort();
  const child = spawn(
    programPath("prometheus") ?? "prometheus",
    [
      ...[`--config.file=${join(dir, "prometheus.yml")}`, `--storage.tsdb.path=${join(dir, "data")}`],
      ...[`--web.listen-address=127.0.0.1:${port}`, "--log.level=warn"],
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  // An operator who ends the test process in the middle of a test must not leave it behind.
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  const url = `http://127.0.0.1:${port}`;
  const stop = async () => {
    process.off("exit", killAtExit);
    await end(child);
    await rm(dir, { recursive: true, force: true });
  };
  try {
    await untilReady(child, url);
  } catch (error) {
    await stop();
    throw error;
  }
  const api = async (pathAndQuery: string) => {
    const response = await fetch(`${url}/api/v1/${pathAndQuery}`);
    return ((await response.json()) as { readonly data: unknown }).data;
  };
  return {
    api,
    async values(query) {
      const { result } = (await api(`query?query=${encodeURIComponent(query)}`)) as {
        readonly result: readonly {
          readonly metric: Readonly<Record<string, string>>;
          readonly value: readonly [number, string];
        }[];
      };
      return result.map(({ metric: { __name__: _, ...labels }, value }) => ({
        labels,
        value: Number(value[1]),
      }));
    },
    [Symbol.asyncDispose]: stop,
  };
}

async function untilReady(child: ChildProcess, url: string): Promise<void> {
  let said = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4_000);
  });
  const deadline = AbortSignal.timeout(hangsAfterMs);
  while (child.exitCode === null && !deadline.aborted) {
    const isReady = await fetch(`${url}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (isReady) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`Prometheus was not ready in time: ${said}`);
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const forced = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await exited;
  clearTimeout(forced);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
