/**
 * What another client notices while one token floods the server, and how much memory the server takes: latency of another token's
 * `{ __typename }` in ms, and the peak of the server's resident memory. Run it with
 * `node bench/one-client-floods.ts [FLOOD...]`; it starts a server with a Redis of its own, and each flood in a process of its own.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startServer } from "../test/support/server.ts";
import { tokenFile } from "../test/support/tokens.ts";
import { floods, runFloods, strangersFloods } from "./load/floods.ts";

const seconds = 8;
const [, , role, name, url] = process.argv;

if (role === "flood") {
  // Whatever becomes of the process that began it.
  setTimeout(() => process.exit(), 60_000);
  await runFloods(name ?? "", url ?? "");
} else {
  const wanted = process.argv.slice(2);
  await measureAll(
    wanted.length === 0
      ? ["nothing", ...Object.keys(floods), "all at once", ...Object.keys(strangersFloods)]
      : wanted,
  );
}

async function measureAll(names: readonly string[]): Promise<void> {
  const table: Record<string, object> = {};
  for (const each of names) {
    table[each] = await measure(each === "nothing" ? [] : [each]);
  }
  console.table(table);
}

async function measure(kinds: readonly string[]): Promise<object> {
  const dataDir = await mkdtemp(join(tmpdir(), "ql-floods-"));
  await using tokens = await tokenFile({ flood: "read,record,admin", other: "read,record" });
  await using server = await startServer({ DATA_DIR: dataDir, API_TOKENS_FILE: tokens.path });
  const children: ChildProcess[] = kinds.map((kind) =>
    fork(import.meta.filename, ["flood", kind, server.url], { stdio: "ignore" }),
  );
  try {
    await sleep(kinds.length === 0 ? 500 : 3_000);
    const tookMs = await latencies(server.url);
    const status = await readFile(`/proc/${server.pid}/status`, "utf8");
    const peakKb = Number(/^VmHWM:\s+(\d+)/m.exec(status)?.[1]);
    return {
      p50: at(tookMs, 0.5).toFixed(1),
      p99: at(tookMs, 0.99).toFixed(1),
      max: at(tookMs, 1).toFixed(1),
      asked: tookMs.length,
      "peak, MB": Math.round(peakKb / 1_000),
    };
  } finally {
    for (const child of children) {
      if (child.exitCode === null) child.kill("SIGKILL");
      if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
    }
    // SIGKILL would leave its redis-server behind.
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}

/** One request each 10 ms, or when the last one is answered. */
async function latencies(url: string): Promise<readonly number[]> {
  const all: number[] = [];
  const until = performance.now() + seconds * 1_000;
  while (performance.now() < until) {
    const sentAtMs = performance.now();
    const response = await fetch(`${url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", authorization: "Bearer other" },
      body: '{"query":"{ __typename }"}',
    });
    const { data } = (await response.json()) as { readonly data?: object };
    if (data === undefined) throw new Error("the other token was not answered");
    all.push(performance.now() - sentAtMs);
    await sleep(Math.max(0, sentAtMs + 10 - performance.now()));
  }
  return all.toSorted((a, b) => a - b);
}

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}
