import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { freePort, startRedis, type TestRedis } from "./redis.ts";
import { until } from "./until.ts";

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
  const sentinel = stack.use(
    await launchSentinel((port) => [
      `port ${port}`,
      `sentinel monitor mymaster 127.0.0.1 ${master.port} 1`,
      `sentinel auth-pass mymaster ${password}`,
      "sentinel down-after-milliseconds mymaster 2000",
      "sentinel failover-timeout mymaster 2000",
    ]),
  );
  const { port } = sentinel;

  const control = new Redis({ host: "127.0.0.1", port, retryStrategy: () => 50 });
  control.on("error", () => {});
  stack.defer(() => control.disconnect());
  await until(async () => {
    const replicas = (await control.call(
      "SENTINEL",
      "REPLICAS",
      "mymaster",
    )) as readonly (readonly string[])[];
    const fields = replicas.map((each) => each.join(" "));
    if (!fields.some((each) => each.includes("master-link-status ok"))) throw new Error("no replica yet");
  }, 50);
  const owned = stack.move();
  return { port, master, replica, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Starts a redis-sentinel with these lines as its configuration, which name its port. It may not listen yet. */
export async function launchSentinel(
  lines: (port: number) => readonly string[],
): Promise<AsyncDisposable & { readonly port: number }> {
  const dir = await mkdtemp(join(tmpdir(), "ql-sentinel-"));
  const port = await freePort();
  const path = join(dir, "sentinel.conf");
  await writeFile(path, `${["bind 127.0.0.1", `dir ${dir}`, ...lines(port)].join("\n")}\n`);
  const child = spawn("redis-server", [path, "--sentinel"], { stdio: "ignore" });
  return {
    port,
    async [Symbol.asyncDispose]() {
      await end(child);
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}
