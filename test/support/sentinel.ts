import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { vi } from "vitest";
import { freePort, startRedis, type TestRedis } from "./redis.ts";

/** A Redis, its replica, and one Sentinel that makes the replica the master when the master dies. */
export interface TestSentinel extends AsyncDisposable {
  readonly port: number;
  /** The master of the beginning. */
  readonly master: TestRedis;
  readonly replica: TestRedis;
}

/** Starts a real redis-sentinel that calls its master `mymaster`; resolves when it knows the replica. */
export async function startSentinel({ password }: { readonly password: string }): Promise<TestSentinel> {
  await using stack = new AsyncDisposableStack();
  const access = ["--requirepass", password, "--masterauth", password];
  const master = stack.use(await startRedis({ args: [...access, "--repl-diskless-sync-delay", "0"] }));
  const replica = stack.use(
    await startRedis({ args: [...access, "--replicaof", "127.0.0.1", `${master.port}`] }),
  );
  const dir = await mkdtemp(join(tmpdir(), "ql-sentinel-"));
  stack.defer(() => rm(dir, { recursive: true, force: true }));
  const port = await freePort();
  const lines = [
    `port ${port}`,
    "bind 127.0.0.1",
    `dir ${dir}`,
    `sentinel monitor mymaster 127.0.0.1 ${master.port} 1`,
    `sentinel auth-pass mymaster ${password}`,
    "sentinel down-after-milliseconds mymaster 500",
    "sentinel failover-timeout mymaster 2000",
  ];
  await writeFile(join(dir, "sentinel.conf"), `${lines.join("\n")}\n`);
  const child = spawn("redis-server", [join(dir, "sentinel.conf"), "--sentinel"], { stdio: "ignore" });
  stack.defer(() => end(child));

  const control = new Redis({ host: "127.0.0.1", port, retryStrategy: () => 50 });
  control.on("error", () => {});
  stack.defer(() => control.disconnect());
  await vi.waitFor(
    async () => {
      const replicas = (await control.call(
        "SENTINEL",
        "REPLICAS",
        "mymaster",
      )) as readonly (readonly string[])[];
      const fields = replicas.map((each) => each.join(" "));
      if (!fields.some((each) => each.includes("master-link-status ok"))) throw new Error("no replica yet");
    },
    { timeout: 30_000, interval: 50 },
  );
  const owned = stack.move();
  return { port, master, replica, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}
