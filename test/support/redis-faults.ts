import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { Redis } from "ioredis";
import { expect, onTestFinished } from "vitest";
import { onThisMachine } from "./busy-machine.ts";
import { startRedis, type TestRedis } from "./redis.ts";
import { type Asked, type UnderLoad, withAdmin } from "./under-load.ts";
import { until } from "./until.ts";

/** A way in which Redis, or what leads to it, fails. */
export interface Fault {
  readonly name: string;
  readonly why: string;
  /** More of redis-server's command line. */
  readonly args?: readonly string[];
  /** Resolves when it has struck; what it returns ends it, and resolves when Redis could serve again. */
  readonly strike: (load: UnderLoad) => Promise<() => Promise<unknown>>;
  /** It lasts until everything has been asked this number of times meanwhile. @default 1 */
  readonly asks?: number;
  /** What is to be had meanwhile: always refused with SERVICE_UNAVAILABLE, always answered, or now this, now that. */
  readonly asked: "refused" | "answered" | "either";
  /** Of what is refused, only these; all else is answered. @default everything */
  readonly refuses?: readonly Asked["what"][];
  /** Whether the subscribers must be pushed meanwhile that the last reading is stale, must not be, or may be. */
  readonly pushed: "stale" | "fresh" | "either";
}

export const faults: readonly Fault[] = [
  {
    name: "is killed by SIGKILL",
    why: "connections are refused",
    async strike({ redis }) {
      await redis.kill();
      return () => redis.restart();
    },
    asked: "refused",
    pushed: "stale",
  },
  {
    name: "hangs",
    why: "SIGSTOP: connections are there, and nothing comes over them",
    async strike({ redis }) {
      process.kill(redis.pid, "SIGSTOP");
      return async () => process.kill(redis.pid, "SIGCONT");
    },
    asked: "refused",
    pushed: "stale",
  },
  {
    name: "answers no client for a while",
    why: "CLIENT PAUSE ALL: as it hangs, and then does all that it was asked meanwhile",
    async strike({ admin }) {
      // Longer than a busy machine takes to notice it.
      await admin.client("PAUSE", Math.round(onThisMachine(4_000)), "ALL");
      // Which is answered when it is over.
      const over = admin.ping();
      return () => over;
    },
    asked: "refused",
    pushed: "stale",
  },
  {
    name: "answers readers only for a while",
    why: "CLIENT PAUSE WRITE, as in a failover: scripts wait",
    asks: 2,
    async strike({ admin }) {
      await admin.client("PAUSE", 60_000, "WRITE");
      return () => admin.client("UNPAUSE");
    },
    asked: "refused",
    pushed: "either",
  },
  {
    name: "is restarted again and again",
    why: "connections come and go before they are ready",
    asks: 50,
    strike: ({ redis }) => again(100, () => redis.restart()),
    asked: "either",
    pushed: "either",
  },
  {
    name: "loads its data",
    why: "LOADING: it is there, says that it needs much longer, and does not",
    args: ["--key-load-delay", "1000"],
    async strike({ redis, admin }) {
      const pipeline = admin.pipeline();
      for (let i = 0; i < 20_000; i++) pipeline.set(`ballast:${i}`, "x");
      await pipeline.exec();
      await redis.kill();
      const restarted = redis.restart();
      return async () => {
        await until(() => admin.config("SET", "key-load-delay", "0"));
        await restarted;
      };
    },
    asked: "refused",
    pushed: "stale",
  },
  {
    name: "forgets all scripts, over and over",
    why: "SCRIPT FLUSH: every call finds that its script has gone",
    asks: 20,
    strike: ({ admin }) => again(0, () => admin.script("FLUSH", "SYNC")),
    asked: "either",
    pushed: "fresh",
  },
  {
    name: "cuts the change feed, over and over",
    why: "CLIENT KILL TYPE pubsub: what happened between two connections must not be missed",
    asks: 20,
    strike: ({ admin }) => again(30, () => admin.call("CLIENT", "KILL", "TYPE", "pubsub")),
    asked: "answered",
    pushed: "either",
  },
  {
    name: "cuts commands, over and over",
    why: "CLIENT KILL TYPE normal: what was sent is never sent twice by itself",
    asks: 20,
    strike: ({ admin }) => again(30, () => admin.call("CLIENT", "KILL", "TYPE", "normal")),
    asked: "either",
    pushed: "either",
  },
  {
    name: "takes no more connections",
    why: "maxclients: it answers with an error, and closes",
    async strike({ admin }) {
      await admin.config("SET", "maxclients", "1");
      await admin.call("CLIENT", "KILL", "USER", "default");
      return () => admin.config("SET", "maxclients", "1000");
    },
    asked: "refused",
    pushed: "stale",
  },
  {
    name: "has no memory left",
    why: "OOM, noeviction: it can be read, takes nothing new, and what makes room is let through",
    async strike({ admin }) {
      await admin.config("SET", "maxmemory", "1");
      return () => admin.config("SET", "maxmemory", "0");
    },
    asked: "refused",
    refuses: ["recordEvents"],
    pushed: "fresh",
  },
  {
    name: "has too few replicas to write",
    why: "NOREPLICAS",
    async strike({ admin }) {
      await admin.config("SET", "min-replicas-to-write", "1");
      return () => admin.config("SET", "min-replicas-to-write", "0");
    },
    asked: "refused",
    refuses: ["recordEvents", "forgetQueue"],
    pushed: "fresh",
  },
  {
    name: "is made a replica of no server",
    why: "READONLY, as a master that was demoted",
    async strike({ admin }) {
      await admin.replicaof("127.0.0.1", "1");
      return () => admin.replicaof("NO", "ONE");
    },
    asked: "refused",
    pushed: "stale",
  },
  {
    name: "hands over to its replica, and goes on as a replica of that",
    why: "READONLY over connections that stay open, while new ones lead to the new master",
    asks: 0,
    async strike({ admin, redis, relay }) {
      const { replica, newMaster } = await startReplica(redis);
      await until(async () => expect(await admin.info("replication")).toContain("state=online"));
      await admin.call("FAILOVER", "TO", "127.0.0.1", replica.port);
      await until(async () => expect(await newMaster.role()).toContain("master"));
      relay.redirect(replica.url);
      return async () => {};
    },
    asked: "either",
    pushed: "either",
  },
  {
    name: "dies, and its replica takes over",
    why: "connections are cut, and the next ones lead to the new master",
    asks: 1,
    async strike({ admin, redis, relay }) {
      const { replica, newMaster } = await startReplica(redis);
      await until(async () => expect(await admin.info("replication")).toContain("state=online"));
      // Nothing is acknowledged that the replica does not have: else it would be lost, and nothing could show it.
      await admin.client("PAUSE", 60_000, "WRITE");
      // WAIT would wait for what this connection has written, and that is nothing.
      const [, written] = /^master_repl_offset:(\d+)/m.exec(await admin.info("replication")) ?? [];
      await until(async () => {
        const [, received] = /^slave_repl_offset:(\d+)/m.exec(await newMaster.info("replication")) ?? [];
        expect(Number(received)).toBeGreaterThanOrEqual(Number(written));
      });
      await redis.kill();
      return async () => {
        await newMaster.replicaof("NO", "ONE");
        relay.redirect(replica.url);
      };
    },
    asked: "refused",
    pushed: "stale",
  },
  {
    name: "is busy with the script of another program",
    why: "BUSY",
    args: ["--busy-reply-threshold", "100"],
    async strike({ admin }) {
      const other = admin.duplicate();
      onTestFinished(() => other.disconnect());
      const running = other.eval("while true do end", 0).catch(() => {});
      return async () => {
        await admin.script("KILL");
        await running;
      };
    },
    asked: "refused",
    pushed: "either",
  },
  {
    name: "takes our right to run scripts away",
    why: "NOPERM",
    async strike({ admin }) {
      await admin.acl("SETUSER", "default", "-@scripting");
      return () => admin.acl("SETUSER", "default", "+@all");
    },
    asked: "refused",
    pushed: "either",
  },
  {
    name: "takes our right to receive changes away",
    why: "NOPERM: the connection is cut, and the next may not subscribe",
    async strike({ admin }) {
      await admin.acl("SETUSER", "default", "resetchannels");
      return () => admin.acl("SETUSER", "default", "allchannels");
    },
    asked: "either",
    pushed: "stale",
  },
  {
    name: "wants a password that we do not have",
    why: "NOAUTH at the next connection",
    async strike({ admin }) {
      await admin.acl("SETUSER", "default", "resetpass", ">secret");
      await admin.client("KILL", "USER", "default");
      return () => admin.acl("SETUSER", "default", "nopass");
    },
    asked: "refused",
    pushed: "stale",
  },
  {
    name: "brings messages that are none of ours, thousands a second",
    why: "a client that may publish can send anything",
    asks: 5,
    async strike({ admin }) {
      const channel = String((await admin.pubsub("CHANNELS"))[0]);
      const odd = [
        "",
        "__proto__",
        "constructor",
        '{"queue":"busy"}',
        "x".repeat(1_000_000),
        randomBytes(999),
      ];
      return again(20, async () => {
        const pipeline = admin.pipeline();
        for (const message of odd) pipeline.publish(channel, message);
        for (let i = 0; i < 500; i++) pipeline.publish(channel, `unknown-${i}`);
        for (let i = 0; i < 500; i++) pipeline.publish(channel, "busy");
        await pipeline.exec();
      });
    },
    asked: "answered",
    pushed: "either",
  },
  {
    name: "cuts the change feed for what piles up in it",
    why: "client-output-buffer-limit pubsub, which a flood reaches",
    asks: 20,
    async strike({ admin }) {
      const channel = String((await admin.pubsub("CHANNELS"))[0]);
      await admin.config("SET", "client-output-buffer-limit", "pubsub 20000 0 0");
      return again(50, () => admin.publish(channel, "x".repeat(100_000)));
    },
    asked: "answered",
    pushed: "either",
  },
  {
    name: "does not receive from us any more over connections that look alive",
    why: "half open: a network that lost one direction; new connections work",
    asks: 0,
    async strike({ relay }) {
      relay.strand("there");
      return async () => {};
    },
    asked: "either",
    pushed: "either",
  },
  {
    name: "does not reach us any more over connections that look alive",
    why: "half open: what was asked is done, and no answer comes",
    asks: 0,
    async strike({ relay }) {
      relay.strand("back");
      return async () => {};
    },
    asked: "either",
    pushed: "either",
  },
  {
    name: "says nothing of changes any more over a connection that looks alive",
    why: "half open: the feed alone, so that everything else works",
    asks: 0,
    async strike({ relay }) {
      relay.strand("back", "queue-latency-changes");
      return async () => {};
    },
    asked: "answered",
    pushed: "either",
  },
  {
    name: "is far away",
    why: "200 ms there and back",
    async strike({ relay }) {
      relay.slowDown(100);
      return async () => relay.slowDown(0);
    },
    asked: "answered",
    pushed: "fresh",
  },
];

/** With a connection to it. */
async function startReplica(master: TestRedis): Promise<{ replica: TestRedis; newMaster: Redis }> {
  const replica = await startRedis({ args: [...withAdmin, "--replicaof", "127.0.0.1", String(master.port)] });
  const newMaster = new Redis(replica.url);
  onTestFinished(async () => {
    newMaster.disconnect();
    await replica.stop();
  });
  return { replica, newMaster };
}

/** Does it again and again, with a pause in between, until the function that it returns is called. */
async function again(pauseMs: number, act: () => Promise<unknown>): Promise<() => Promise<unknown>> {
  let isOver = false;
  await act();
  const acting = (async () => {
    while (!isOver) {
      await pause(pauseMs);
      await act();
    }
  })();
  return () => {
    isOver = true;
    return acting;
  };
}
