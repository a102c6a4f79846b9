import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { Redis } from "ioredis";
import { expect, onTestFinished, test } from "vitest";
import { jobSystemKeys, watchJobSystem } from "../support/job-systems.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { eventually } from "../support/watched-source.ts";

/** Those that look through all keys. */
const searching = ["sidekiq", "bull", "streams", "celery", "laravel", "dramatiq", "huey", "arq"];

interface Refusal {
  readonly why: string;
  /** What every source logs when it has noticed. */
  readonly logs: RegExp;
  readonly args?: readonly string[];
  readonly begin: (server: TestRedis, at: Redis, proxy: Proxy) => Promise<() => Promise<unknown>>;
}

const refusals: readonly Refusal[] = [
  {
    why: "NOPERM, until the user may",
    logs: /^SCAN refused/,
    async begin(_, at) {
      await at.acl("SETUSER", "default", "-scan");
      return () => at.acl("SETUSER", "default", "+scan");
    },
  },
  {
    why: "ERR, as of a proxy that knows no SCAN",
    logs: /^SCAN refused/,
    async begin(_server, _at, proxy) {
      proxy.knowsScan = false;
      return async () => {
        proxy.knowsScan = true;
      };
    },
  },
  {
    why: "MASTERDOWN, of a replica that has lost its master",
    logs: /^source unavailable/,
    async begin(_, at) {
      await at.config("SET", "replica-serve-stale-data", "no");
      await at.replicaof("127.0.0.1", "1");
      return () => at.replicaof("NO", "ONE");
    },
  },
  {
    why: "BUSY, with the script of another program",
    logs: /^source unavailable/,
    args: ["--busy-reply-threshold", "10"],
    async begin(_, at) {
      const other = at.duplicate();
      onTestFinished(() => other.disconnect());
      const running = other.eval("while true do end", 0).catch(() => {});
      return async () => {
        await at.script("KILL");
        await running;
      };
    },
  },
  {
    why: "LOADING, after it was restarted",
    logs: /^source unavailable/,
    args: ["--key-load-delay", "1000"],
    async begin(server, at) {
      const pipeline = at.pipeline();
      for (let i = 0; i < 4_000; i++) pipeline.set(`ballast:${i}`, "x");
      await pipeline.exec();
      await server.kill();
      const restarted = server.restart();
      return async () => {
        await eventually(() => at.config("SET", "key-load-delay", "0"));
        await restarted;
      };
    },
  },
];

test.each(refusals)("queues are found again after $why", async ({ logs, args = [], begin }) => {
  const server = await startRedis({ appendonly: true, args });
  onTestFinished(() => server.stop());
  const at = new Redis(server.url);
  at.on("error", () => {});
  onTestFinished(() => at.disconnect());
  const proxy = await startProxy(server.port);
  const systems = jobSystemKeys.filter(({ kind }) => searching.includes(kind));
  for (const { addQueue } of systems) await addQueue(at, "mail");
  const watched = await Promise.all(systems.map((system) => watchJobSystem(system, proxy.url)));
  for (const [i, { queueOf }] of systems.entries()) await watched[i]?.until(queueOf("mail"), { depth: 1 });

  const end = await begin(server, at, proxy);
  for (const { log } of watched)
    await eventually(() => expect(log.some(({ message }) => logs.test(message))).toBe(true));
  await end();
  // Of Sidekiq a list alone, which is in no set.
  for (const { kind, addQueue } of systems)
    await (kind === "sidekiq" ? at.lpush("queue:late", "{}") : addQueue(at, "late"));
  for (const [i, { queueOf }] of systems.entries()) await watched[i]?.until(queueOf("late"), { depth: 1 });
  for (const { log } of watched)
    if (String(logs).includes("SCAN"))
      expect(log.map(({ message }) => message).join()).toContain("SCAN allowed");
});

interface Proxy {
  readonly url: string;
  knowsScan: boolean;
}

async function startProxy(port: number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(port, "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on("error", () => {}).on("close", () => to.destroy());
    }
    near.on("data", (chunk) => {
      const text = chunk.toString("latin1");
      far.write(
        proxy.knowsScan ? chunk : Buffer.from(text.replace(/\$4\r\nscan\r\n/gi, "$4\r\nnope\r\n"), "latin1"),
      );
    });
    far.on("data", (chunk) => near.write(chunk));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const proxy = { url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`, knowsScan: true };
  return proxy;
}
