import { Redis } from "ioredis";
import { onTestFinished } from "vitest";
import { monotonicClock } from "../../src/runtime/clock.ts";
import { startRedis } from "./redis.ts";

/** A connection of the test's own to the Redis that a source reads. */
export interface SourceRedis {
  readonly url: string;
  readonly at: Redis;
}

/** A Redis that belongs to one test, and ends with it. */
export async function sourceRedis(args: readonly string[] = []): Promise<SourceRedis> {
  const server = await startRedis({ args });
  const at = new Redis(server.url);
  onTestFinished(async () => {
    at.disconnect();
    await server.stop();
  });
  return { url: server.url, at };
}

export interface TestDatabases {
  /** A database that no other test uses; its connection ends with the test. */
  own(): { readonly url: string; readonly redis: Redis };
  stop(): Promise<void>;
}

/** The databases of one Redis, for a file of tests that each need one. */
export async function startDatabases(max: number): Promise<TestDatabases> {
  const server = await startRedis({ args: ["--databases", String(max)] });
  let taken = 0;
  return {
    own() {
      taken += 1;
      const url = `${server.url}${taken}`;
      const redis = new Redis(url);
      onTestFinished(() => redis.disconnect());
      return { url, redis };
    },
    stop: () => server.stop(),
  };
}

export interface ClockOffset {
  /** Redis's time minus {@link monotonicClock}'s. */
  readonly ms: number;
  readonly uncertaintyMs: number;
}

export async function clockOffset(at: Redis): Promise<ClockOffset> {
  const sentAtMs = monotonicClock.now();
  const [whole, micros] = await at.time();
  const uncertaintyMs = (monotonicClock.now() - sentAtMs) / 2;
  return { ms: Number(whole) * 1000 + Number(micros) / 1000 - sentAtMs - uncertaintyMs, uncertaintyMs };
}

/** How often each command was called since the statistics were reset. */
export async function callsOf(at: Redis): Promise<Record<string, number>> {
  const lines = (await at.info("commandstats")).matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm);
  return Object.fromEntries([...lines].map(([, command, calls]) => [command, Number(calls)]));
}

export async function bytesOut(at: Redis): Promise<number> {
  return Number(/^total_net_output_bytes:(\d+)/m.exec(await at.info("stats"))?.[1]);
}
