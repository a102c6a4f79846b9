import type { AlertRule } from "../core/alert-rules.ts";
import type { Alert, AlertState, AlertStatus } from "../core/alerts.ts";
import { AppError } from "../core/errors.ts";
import type { Hold, Lease } from "../core/lease.ts";
import type { RedisClient } from "../redis/connect.ts";
import type { Keys } from "../redis/keys.ts";
import type { Logger } from "../runtime/logger.ts";
import { runWhileLeader } from "../runtime/run-while-leader.ts";
import type { Service } from "../runtime/service.ts";
import { createSharedReading } from "../runtime/shared-reading.ts";
import { type AlertStore, createAlertStore } from "./alert-store.ts";
import { type AlertFeed, createAlertStream } from "./alert-stream.ts";
import type { AlertFilter, AlertWatch } from "./alert-watches.ts";
import { createEvaluator } from "./evaluator.ts";
import { createNotifiers, type Receivers, receiverNames } from "./notifiers.ts";
import type { QueueReader } from "./queue-observations.ts";

export interface AlertsOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  /** One process at a time evaluates the rules. */
  readonly lease: Lease;
  readonly feed: AlertFeed;
  /** The rules as they are now; null: this process evaluates none, and only reads alerts. */
  readonly rules: (() => readonly AlertRule[]) | null;
  readonly receivers: Receivers;
  readonly queues: QueueReader;
  readonly logger: Logger;
  /** Tests only: shorter than what docs/alerts.md says. */
  readonly timing?: { readonly everyMs?: number; readonly resendMs?: number; readonly retryMs?: number };
}

export interface AlertQuery extends AlertFilter {
  /** Null: those that have not ended. */
  readonly state: AlertState | null;
  readonly first: number;
}

/** Alerts on queues: one process evaluates the rules and notifies receivers, every process answers queries and subscriptions. */
export interface Alerts extends Service {
  /** The newest first. @throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
  list(query: AlertQuery): Promise<Alert[]>;
  /**
   * Its first `next` throws AppError NO_ALERT_RULES when this process has no rules, and no other has evaluated any within a week.
   * Clients show an error that comes in the stream; GraphiQL takes one in place of the stream for a server that is away.
   *
   * @throws AppError SERVICE_UNAVAILABLE when the first state cannot be read.
   */
  watch(filter: AlertFilter, first: number): Promise<AlertWatch>;
  /**
   * Acknowledges an alert; the first acknowledgement stays.
   *
   * @returns the alert; null when none with this id is there that has not ended. @throws AppError SERVICE_UNAVAILABLE
   */
  acknowledge(id: string, by: string): Promise<Alert | null>;
  /** @throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
  status(): Promise<AlertStatus>;
}

/** For how long all alerts that were read answer other queries, in ms. */
const holdMs = 500;

export function createAlerts(options: AlertsOptions): Alerts {
  const { redis, keys, lease, feed, rules, receivers, logger } = options;
  const { all, webhooks } = receiverNames(receivers);
  const store = createAlertStore({ redis, keys, receivers: all, webhooks, logger });
  const stream = createAlertStream({ feed, store, logger });
  const readings = createReadings(store);
  const evaluating =
    rules === null
      ? null
      : runWhileLeader({
          lease,
          create: (hold) => evaluateUnder(options, store, hold, rules),
          logFields: {},
          startedMessage: "this process evaluates alert rules",
          failedMessage: "alert rules could not be evaluated",
          logger,
        });

  return {
    async list({ state, queue, first }) {
      const all = state === "RESOLVED" ? await readings.resolved() : await readings.active();
      return all
        .filter(
          (alert) => (state === null || alert.state === state) && (queue === null || alert.queue === queue),
        )
        .slice(0, first);
    },
    async watch(filter, first) {
      if (rules === null && (await store.status()).decidedAtMs === null) {
        return failedWatch(new AppError("NO_ALERT_RULES", noRules));
      }
      return await stream.watch(filter, first);
    },
    async acknowledge(id, by) {
      const alert = await store.acknowledge(id, by);
      readings.forget();
      return alert;
    },
    async status() {
      const [active, status] = await Promise.all([readings.active(), store.status()]);
      const pending = active.filter(({ state }) => state === "PENDING").length;
      return { ...status, pending, firing: active.length - pending, rules: rules?.().length ?? 0 };
    },
    async start() {
      await stream.start();
      await evaluating?.start();
    },
    async stop() {
      await evaluating?.stop();
      await stream.stop();
    },
  };
}

const noRules = "there are no alert rules; name a file of rules in ALERTS_FILE, and restart the server";

function failedWatch(error: AppError): AlertWatch {
  let isOver = false;
  const watch: AlertWatch = {
    minIntervalMs: 0,
    join: async () => ({ pushes: [], number: 0 }),
    since: async () => ({ push: null, number: 0 }),
    async next() {
      if (isOver) return { done: true, value: undefined };
      isOver = true;
      throw error;
    },
    async return() {
      isOver = true;
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]: () => watch,
  };
  return watch;
}

/** What one process does while it has the lease. */
function evaluateUnder(
  { queues, receivers, logger, timing = {} }: AlertsOptions,
  store: AlertStore,
  hold: Hold,
  rules: () => readonly AlertRule[],
): Service {
  const evaluator = createEvaluator({
    ...{ store, queues, rules, logger, hold, everyMs: timing.everyMs },
    onWritten: () => notifiers.wake(),
  });
  const notifiers = createNotifiers({
    ...{ receivers, store, evaluator, logger, resendMs: timing.resendMs, retryMs: timing.retryMs },
  });
  return {
    async start() {
      await evaluator.start();
      await notifiers.start();
    },
    async stop() {
      await evaluator.stop();
      await notifiers.stop();
    },
  };
}

/** Reads all alerts once for all queries within half a second. */
function createReadings(store: AlertStore) {
  const newestFirst = async () => (await store.active()).sort((a, b) => b.sinceMs - a.sinceMs);
  const active = createSharedReading(newestFirst, holdMs);
  const resolved = createSharedReading(() => store.resolved(1_000), holdMs);
  return {
    active: active.read,
    resolved: resolved.read,
    forget() {
      active.forget();
      resolved.forget();
    },
  };
}
