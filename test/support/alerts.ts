import { expect, onTestFinished } from "vitest";
import { type AlertStore, type AlertStoreOptions, createAlertStore } from "../../src/alerts/alert-store.ts";
import { createEvaluator, type Evaluator } from "../../src/alerts/evaluator.ts";
import type { QueueReader } from "../../src/alerts/queue-observations.ts";
import type { AlertRule } from "../../src/core/alert-rules.ts";
import type { Alert } from "../../src/core/alerts.ts";
import { AppError } from "../../src/core/errors.ts";
import type { Health } from "../../src/core/health.ts";
import type { QueueSnapshot } from "../../src/core/snapshot.ts";
import { createClient, type RedisClient } from "../../src/redis/connect.ts";
import { createKeys, type Keys } from "../../src/redis/keys.ts";
import { parseAlertRules } from "../../src/settings/parse-alert-rules.ts";
import { snapshot } from "./live.ts";
import { recordingLogger, silentLogger } from "./logger.ts";
import { uniquePrefix } from "./redis.ts";

export const startMs = 1_790_000_000_000;

/** Queues as a test says that they stand: all that it says between two rounds is seen by the second one, and by none before. */
export interface TestQueues extends QueueReader {
  set(queue: string, rest: Partial<QueueSnapshot>, health?: Health): void;
  /** It is not known any more. */
  forget(queue: string): void;
  /** It cannot be read any more. */
  lose(queue: string): void;
  /** Which queues were read, and how often anything was. */
  readonly readOf: Map<string, number>;
  /** A round begins. */
  apply(): void;
}

export function testQueues(): TestQueues {
  const queues = new Map<
    string,
    { readonly rest: Partial<QueueSnapshot>; readonly health: Health } | "lost"
  >();
  const readOf = new Map<string, number>();
  /** In the order in which they were set first. */
  const known: string[] = [];
  const said: (() => void)[] = [];
  return {
    readOf,
    apply() {
      for (const change of said.splice(0)) change();
    },
    set: (queue, rest, health = "OK") =>
      void said.push(() => {
        if (!known.includes(queue)) known.push(queue);
        queues.set(queue, { rest: { state: "WAITING", ...rest }, health });
      }),
    knownSince: async (names) => names.map((name) => known.indexOf(name) + 1),
    forget: (queue) => void said.push(() => queues.delete(queue)),
    lose: (queue) => void said.push(() => queues.set(queue, "lost")),
    list: async ({ after, limit }) =>
      [...queues.keys()]
        .sort()
        .filter((name) => after === null || name > after)
        .slice(0, limit),
    async read(names, parts) {
      return names.map((name) => {
        readOf.set(name, (readOf.get(name) ?? 0) + 1);
        const known = queues.get(name);
        if (known === "lost") throw new AppError("SERVICE_UNAVAILABLE", "its node is away");
        if (known === undefined)
          return snapshot(name, {
            ...{ source: null, state: "MISSING", accuracy: "UNKNOWN" },
            ...{ latencyMs: null, depth: null, scheduled: null },
          });
        const rates = { ONE_MINUTE: { enqueuedPerSecond: 3, dequeuedPerSecond: 2 } };
        return snapshot(name, {
          ...known.rest,
          depth: parts.depth ? (known.rest.depth ?? 0) : null,
          throughput: parts.throughput.size > 0 ? rates : {},
          waitTime: parts.waitTime.size > 0 ? (known.rest.waitTime ?? null) : {},
        });
      });
    },
    healthOf: async (snapshots) =>
      snapshots.map(({ queue }) => {
        const known = queues.get(queue);
        return known === undefined || known === "lost" ? "UNKNOWN" : known.health;
      }),
  };
}

export interface TestAlerts {
  readonly redis: RedisClient;
  readonly keys: Keys;
  readonly store: AlertStore;
  readonly queues: TestQueues;
  /** What the store has logged. */
  readonly logger: ReturnType<typeof recordingLogger>;
  /** Fencing tokens that an evaluator has met that are newer than its own. */
  readonly superseded: readonly number[];
  /** Redis's clock goes on by this number of ms. */
  pass(ms: number): void;
  /** Redis's clock is set by this number of ms; no time goes by. */
  step(ms: number): void;
  /** From now on these are the rules, as the file has them. */
  rule(yaml: string): void;
  /** Begins to decide with a fence of its own, as a process does that has the lease. */
  evaluate(fence: number, options?: { readonly maxActive?: number }): Promise<Evaluator>;
  /** Resolves when a whole round has seen what was said before. */
  round(evaluator: Evaluator): Promise<void>;
  /** All that have not ended, as `queue rule STATE`, by queue and rule. */
  active(): Promise<readonly string[]>;
  resolved(): Promise<readonly Alert[]>;
  /** What the webhook would receive, as `type queue rule`, in order. */
  seen(): Promise<readonly string[]>;
}

export async function openAlerts(
  redisUrl: string,
  yaml: string,
  options: Partial<Pick<AlertStoreOptions, "maxNotifications" | "webhooks" | "receivers">> = {},
): Promise<TestAlerts> {
  const redis = createClient({ urls: redisUrl.split(","), name: "test", logger: silentLogger });
  await redis.connect();
  const keys = createKeys(uniquePrefix());
  let now = startMs;
  let steppedMs = 0;
  let rules: readonly AlertRule[] = parseAlertRules(yaml);
  const queues = testQueues();
  const logger = recordingLogger();
  const superseded: number[] = [];
  /** As the clock of the queues: it does not go on in the middle of a round, which has seen them as they were before. */
  let monotonicMs = 0;
  const timeOfRound = () => {
    queues.apply();
    monotonicMs = now - steppedMs - startMs;
    return now;
  };
  const store = createAlertStore({
    ...{ redis, keys, logger, webhooks: ["webhook"], now: timeOfRound },
    ...options,
  });
  const evaluators: Evaluator[] = [];
  onTestFinished(async () => {
    await Promise.all(evaluators.map((evaluator) => evaluator.stop()));
    redis.disconnect();
  });
  return {
    ...{ redis, keys, store, queues, logger, superseded },
    pass(ms) {
      now += ms;
    },
    step(ms) {
      now += ms;
      steppedMs += ms;
    },
    rule(text) {
      rules = parseAlertRules(text);
    },
    async evaluate(fence, { maxActive } = {}) {
      const hold = { fence, supersede: (newer: number) => void superseded.push(newer) };
      const evaluator = createEvaluator({
        ...{ store, queues, hold, maxActive, everyMs: 5, logger: silentLogger },
        clock: { now: () => monotonicMs },
        rules: () => rules,
        onWritten() {},
      });
      evaluators.push(evaluator);
      await evaluator.start();
      return evaluator;
    },
    async round(evaluator) {
      // The clock goes on only here, so a round that has this time began after it, and five of them list all names anew.
      for (let rounds = 0; rounds < 6; rounds++) {
        now += 1;
        await expect.poll(() => evaluator.lastRound?.atMs).toBe(now);
      }
    },
    active: async () =>
      (await store.active()).map(({ queue, rule, state }) => `${queue} ${rule} ${state}`).sort(),
    resolved: () => store.resolved(100),
    seen: async () =>
      ((await store.outboxes[0]?.after(null, 10_000)) ?? []).map(({ body }) => {
        const { type, data } = JSON.parse(body);
        return `${type} ${data.queue} ${data.rule}`;
      }),
  };
}
