import type { Alert, AlertState, AlertStatus } from "../core/alerts.ts";
import type { Hold, Lease } from "../core/lease.ts";
import type { Logger } from "../core/logger.ts";
import type { Service } from "../core/service.ts";
import { createUnderLease } from "../core/under-lease.ts";
import type { RedisClient } from "../redis/connect.ts";
import type { Keys } from "../redis/keys.ts";
import { type AlertFeed, createAlertNews } from "./alert-news.ts";
import { type AlertStore, createAlertStore } from "./alert-store.ts";
import type { AlertFilter, AlertWatch } from "./alert-watches.ts";
import { createDecider } from "./decider.ts";
import { createDeliveries, type Receivers } from "./deliveries.ts";
import type { AlertRule } from "./rules.ts";
import type { Sights } from "./sights.ts";

export interface AlertsOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  /** Of deciding, of which one process has the turn. */
  readonly lease: Lease;
  readonly feed: AlertFeed;
  /** The rules as they are now; null: nothing is decided here, and only told what others decide. */
  readonly rules: (() => readonly AlertRule[]) | null;
  readonly receivers: Receivers;
  readonly sights: Sights;
  readonly logger: Logger;
  /** Tests only: shorter than what README.md says. */
  readonly timing?: { readonly everyMs?: number; readonly resendMs?: number; readonly retryMs?: number };
}

export interface AlertQuery extends AlertFilter {
  /** Null: those that have not ended. */
  readonly state: AlertState | null;
  readonly first: number;
}

/** Tells when a queue gets too late: whatever the process, alerts are decided by one and told by all. */
export interface Alerts extends Service {
  /** The newest first. @throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
  list(query: AlertQuery): Promise<Alert[]>;
  /** @throws AppError SERVICE_UNAVAILABLE when the first state cannot be read. */
  watch(filter: AlertFilter): Promise<AlertWatch>;
  /**
   * Notes that somebody has seen an alert; who was first stays.
   *
   * @returns the alert; null when none with this id is there that has not ended. @throws AppError SERVICE_UNAVAILABLE
   */
  acknowledge(id: string, by: string): Promise<Alert | null>;
  /** @throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
  status(): Promise<AlertStatus>;
  /** Ends what is watched. */
  endStreams(): Promise<void>;
}

/** For so long what was read of all alerts does for other queries, in ms: they may be many. */
const holdMs = 500;

export function createAlerts(options: AlertsOptions): Alerts {
  const { redis, keys, lease, feed, rules, receivers, logger } = options;
  const store = createAlertStore({ redis, keys, ...(receivers.webhook === null ? { mostWords: 0 } : {}) });
  const news = createAlertNews({ feed, store, logger });
  const readings = createReadings(store);
  const deciding =
    rules === null
      ? null
      : createUnderLease({
          lease,
          create: (hold) => decideUnder(options, store, hold, rules),
          about: {},
          says: "this process decides alerts",
          failure: "alerts could not be decided",
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
    watch: news.watch,
    async acknowledge(id, by) {
      const alert = await store.acknowledge(id, by);
      readings.forget();
      return alert;
    },
    async status() {
      const [active, status] = await Promise.all([readings.active(), store.status()]);
      const pending = active.filter(({ state }) => state === "PENDING").length;
      return { ...status, pending, firing: active.length - pending };
    },
    endStreams: news.stop,
    async start() {
      await news.start();
      await deciding?.start();
    },
    async stop() {
      await deciding?.stop();
      await news.stop();
    },
  };
}

/** What one process does while it has the lease. */
function decideUnder(
  { sights, receivers, logger, timing = {} }: AlertsOptions,
  store: AlertStore,
  hold: Hold,
  rules: () => readonly AlertRule[],
): Service {
  const decider = createDecider({
    ...{ store, sights, rules, logger, fence: hold.fence, everyMs: timing.everyMs },
    onWritten: () => deliveries.nudge(),
  });
  const deliveries = createDeliveries({
    ...{ receivers, store, decider, logger, resendMs: timing.resendMs, retryMs: timing.retryMs },
  });
  return {
    async start() {
      await decider.start();
      await deliveries.start();
    },
    async stop() {
      await decider.stop();
      await deliveries.stop();
    },
  };
}

/** Reads all alerts for whoever asks within half a second. */
function createReadings(store: AlertStore) {
  const held = new Map<string, Promise<Alert[]>>();

  function hold(what: string, read: () => Promise<Alert[]>): Promise<Alert[]> {
    const known = held.get(what);
    if (known !== undefined) return known;
    const reading = read();
    held.set(what, reading);
    const forget = () => held.get(what) === reading && held.delete(what);
    reading.then(() => setTimeout(forget, holdMs).unref(), forget);
    return reading;
  }

  return {
    /** The newest first. */
    active: () => hold("active", async () => (await store.active()).sort((a, b) => b.sinceMs - a.sinceMs)),
    resolved: () => hold("resolved", () => store.resolved(1_000)),
    forget: () => held.clear(),
  };
}
