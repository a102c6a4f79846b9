import { setTimeout as delay } from "node:timers/promises";
import type { Transport } from "../load/subscribers.ts";
import type { Load } from "./load.ts";
import { subscription, tenQueues, usualPace } from "./questions.ts";
import { loadTokens } from "./under-test.ts";

export interface Group {
  readonly load: Load;
  /** What the subscribers are called. */
  readonly name: string;
}

export interface GroupOptions {
  readonly transport: Transport;
  readonly url: string;
  readonly count: number;
  /** What each of them watches, in turn: those that watch the same are a group. @default all tenQueues */
  readonly queues?: readonly (readonly string[])[];
  /** @default subscription */
  readonly query?: string;
  /** The pace of their pushes; by default that of the schema. */
  readonly minIntervalMs?: number;
  readonly refreshMs?: number;
}

/** Subscribers that stay for as long as their load process: each on a connection of its own, 40 of each client. */
export async function subscribe({ load, name }: Group, options: GroupOptions): Promise<void> {
  const { transport, url, count, queues = [tenQueues], query = subscription } = options;
  const { minIntervalMs = usualPace.minIntervalMs, refreshMs = usualPace.refreshMs } = options;
  const variables = queues.map((each) => ({ queues: each, minIntervalMs, refreshMs }));
  const queue = queues[0]?.[0] ?? "";
  await load.run("openSubscribers", {
    ...{ name, transport, url, count, queue, query, variables },
    tokens: loadTokens,
  });
}

/** Waits until nothing has come for a while. @returns how many pushes have come in all. */
export async function pushesOnceQuiet({ load, name }: Group): Promise<number> {
  const quietMs = 300;
  for (let before = -1; ; ) {
    const { pushes } = await load.run("countPushes", { name });
    if (pushes === before) return pushes;
    before = pushes;
    await delay(quietMs);
  }
}

/** Does something this number of times, evenly. */
export async function evenly(times: number, everyMs: number, act: (n: number) => Promise<unknown>) {
  const startedAtMs = performance.now();
  for (let n = 0; n < times; n++) {
    await act(n);
    await delay(Math.max(0, startedAtMs + (n + 1) * everyMs - performance.now()));
  }
}
