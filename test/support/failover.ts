import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { Redis } from "ioredis";
import { startRedis } from "./redis.ts";
import { until } from "./until.ts";

/** A Redis and its replica behind one address, which leads to whichever is in charge. */
export interface Failover extends AsyncDisposable {
  /** Stays the same. */
  readonly url: string;
  /** Resolves when the replica has everything that the master has. */
  caughtUp(): Promise<void>;
  /** The replica receives nothing more: what is written from now on, though acknowledged, will be lost. */
  cutReplica(): Promise<void>;
  /** The master dies, and the replica takes its place. */
  failOver(): Promise<void>;
}

export async function startFailover(): Promise<Failover> {
  await using stack = new AsyncDisposableStack();
  const master = stack.use(await startRedis({ args: ["--repl-diskless-sync-delay", "0"] }));
  const replica = stack.use(await startRedis({ args: ["--replicaof", "127.0.0.1", `${master.port}`] }));
  const [ofMaster, ofReplica] = [master, replica].map(({ url }) => {
    // A process that is killed is not waited for.
    const redis = new Redis(url, { retryStrategy: () => null });
    redis.on("error", () => {});
    stack.defer(() => redis.disconnect());
    return redis;
  }) as [Redis, Redis];
  let target = master.port;

  const sockets = new Set<Socket>();
  const front = createServer((near) => {
    const far = connect(target, "127.0.0.1");
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on("error", () => to.destroy());
      from.once("close", () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
  }).listen(0, "127.0.0.1");
  await once(front, "listening");
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  stack.defer(async () => {
    const closed = once(front, "close");
    front.close();
    cut();
    await closed;
  });

  const field = async (redis: Redis, name: string) => {
    const info = await redis.info("replication");
    return new RegExp(`^${name}:(.*)$`, "m").exec(info)?.[1]?.trim();
  };
  await until(async () => {
    if ((await field(ofReplica, "master_link_status")) !== "up") throw new Error("the replica has no master");
  });

  const owned = stack.move();
  return {
    url: `redis://127.0.0.1:${(front.address() as AddressInfo).port}/`,
    async caughtUp() {
      const offset = await field(ofMaster, "master_repl_offset");
      await until(async () => {
        if (Number(await field(ofReplica, "slave_repl_offset")) < Number(offset))
          throw new Error("the replica lags behind");
      });
    },
    async cutReplica() {
      await ofReplica.replicaof("NO", "ONE");
    },
    async failOver() {
      await ofReplica.replicaof("NO", "ONE");
      target = replica.port;
      await master.kill();
      cut();
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
