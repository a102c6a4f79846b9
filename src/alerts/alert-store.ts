import { type Alert, type AlertStatus, maxOutbox, type ReceiverStatus } from "../core/alerts.ts";
import { messageOf } from "../core/errors.ts";
import { LeaseLostError } from "../core/lease.ts";
import type { RedisClient } from "../redis/connect.ts";
import { answered } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";
import { allowOutOfMemory, loadScript, runScript } from "../redis/scripts.ts";
import type { Logger } from "../runtime/logger.ts";
import { namedReply } from "../runtime/named-reply.ts";
import { createOutbox, type Outbox } from "./outbox.ts";
import { createRecordReader } from "./record-reader.ts";
import { storedAlertLine } from "./stored-alert.ts";

/** Outcome of one alert: it is kept, it is kept among those that have ended, or it leaves no trace. */
export interface AlertChange {
  readonly what: "keep" | "resolve" | "end";
  readonly alert: Alert;
  /** Goes into the outboxes with it; null: receivers are not notified. */
  readonly notification: object | null;
}

/** What is kept of alerts in Redis. Everything throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
export interface AlertStore {
  /**
   * Begins a round. @param decidedAtMs of the last round that was finished.
   * @returns the time, by Redis's clock. @throws LeaseLostError when a process with a later fence was here.
   */
  begin(fence: number, decidedAtMs: number | null): Promise<number>;
  /** All of it or nothing for up to a hundred at a time. @throws LeaseLostError as `begin`; then nothing was written. */
  write(fence: number, changes: readonly AlertChange[]): Promise<void>;
  active(): Promise<Alert[]>;
  /** How many `active` would find, unreadable ones included. */
  activeCount(): Promise<number>;
  /** Newest first. */
  resolved(first: number): Promise<Alert[]>;
  /** @returns the alert; null when there is none with this id that has not ended. */
  acknowledge(id: string, by: string): Promise<Alert | null>;
  /** One for each webhook, in their order. */
  readonly outboxes: readonly Outbox[];
  count(field: CountField, by: number): Promise<void>;
  status(): Promise<Omit<AlertStatus, "pending" | "firing" | "rules">>;
}

export type CountField = "ignored" | `${"delivered" | "failed" | "dropped"}:${string}`;

const maxResolved = 1_000;
const changesPerCall = 100;
/** While no process evaluates the rules, all of it is forgotten after a week. */
const keptForMs = 7 * 86_400_000;
/** An older notification is of no use. */
const maxAgeMs = 86_400_000;

/** What alerts-begin.lua returns. */
interface BeginReply {
  readonly newerFence?: number;
  readonly now?: number;
  readonly dropped?: number;
  readonly setAside?: readonly string[];
}

export interface AlertStoreOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  /** Names of all receivers of this process, in the order in which `alertStatus` lists them. */
  readonly receivers?: readonly string[];
  /** Names of those that have an outbox. */
  readonly webhooks?: readonly string[];
  readonly logger: Logger;
  /** How many notifications an outbox holds. @default maxOutbox */
  readonly maxNotifications?: number;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: (() => number) | undefined;
}

export function createAlertStore(options: AlertStoreOptions): AlertStore {
  const {
    redis,
    keys,
    webhooks = [],
    receivers = webhooks,
    logger,
    maxNotifications = maxOutbox,
    now,
  } = options;
  // Alerts are bounded, and a full Redis is no time to be without them.
  const script = (name: string, file: string) =>
    allowOutOfMemory(loadScript(name, new URL(`lua/${file}.lua`, import.meta.url)));
  const beginScript = script("queueLatencyAlertsBegin", "alerts-begin");
  const writeScript = script("queueLatencyAlertsWrite", "alerts-write");
  const acknowledgeScript = script("queueLatencyAlertsAcknowledge", "alerts-acknowledge");
  const { active, resolved, outbox, state, changes: channel } = keys.alerts;
  const all = [state, active, resolved, ...webhooks.map((_, i) => outbox(i))];
  const records = createRecordReader(logger);

  /** @param reply negative: the newer fencing token that is stored. */
  function assertLeads(reply: number): void {
    if (reply < 0) throw new LeaseLostError("alerts", -reply);
  }

  function warnOfDropped(count: number, reason: string): void {
    if (count > 0) logger.error({ count, reason }, "dropped notifications");
  }

  /** Whatever can be read of a collection; a key of another type holds nothing that can. */
  async function readable(
    key: string,
    entries: Promise<readonly (readonly [string, string])[]>,
  ): Promise<Alert[]> {
    return await records.read(key, (await unlessWrongType(entries)) ?? [["the whole key", ""]]);
  }

  return {
    async begin(fence, decidedAtMs) {
      const args = [fence, decidedAtMs ?? "", keptForMs, maxAgeMs, JSON.stringify(receivers), now?.() ?? ""];
      const reply = await runScript(redis, beginScript, { keys: all, args: [...args, ...webhooks] });
      const { newerFence = 0, now: nowMs = 0, dropped = 0, setAside = [] } = namedReply<BeginReply>(reply);
      assertLeads(-newerFence);
      warnOfDropped(dropped, "older than a day");
      for (const key of setAside) {
        logger.error({ key, renamedTo: `${key}:set-aside` }, "a key of another type was set aside");
      }
      return nowMs;
    },
    async write(fence, changes) {
      for (let from = 0; from < changes.length; from += changesPerCall) {
        const args = changes
          .slice(from, from + changesPerCall)
          .flatMap(({ what, alert, notification }) => [
            what,
            alert.id,
            storedAlertLine(alert),
            notification === null || webhooks.length === 0 ? "" : JSON.stringify(notification),
          ]);
        const call = {
          keys: all,
          args: [fence, channel, maxResolved, maxNotifications, ...webhooks, ...args],
        };
        const reply = Number(await runScript(redis, writeScript, call));
        assertLeads(reply);
        warnOfDropped(reply, `the outbox holds ${maxNotifications}`);
      }
    },
    active: () =>
      readable(
        active,
        redis.hgetall(active).then((records) => Object.entries(records)),
      ),
    activeCount: async () => (await unlessWrongType(redis.hlen(active))) ?? 0,
    async resolved(first) {
      if (first === 0) return [];
      const list = redis.lrange(resolved, 0, first - 1);
      return await readable(
        resolved,
        list.then((all) => all.map((record) => ["", record] as const)),
      );
    },
    async acknowledge(id, by) {
      const args = [id, JSON.stringify(by), channel];
      const record = await runScript(redis, acknowledgeScript, { keys: [active], args });
      return record === null ? null : records.parse(id, String(record));
    },
    outboxes: webhooks.map((receiver, i) => createOutbox(redis, outbox(i), receiver)),
    async count(field, by) {
      if (by > 0) await answered(redis.hincrby(state, field, by));
    },
    async status() {
      const [found, time] = await Promise.all([
        unlessWrongType(redis.hgetall(state)),
        answered(redis.time()),
      ]);
      const fields = found ?? {};
      // The leader may be another process, with other receivers.
      const names = namesIn(fields.receivers);
      const outboxNames = names.filter((name) => name.startsWith("webhook"));
      const sizes = await Promise.all(outboxNames.map((_, i) => unlessWrongType(redis.xlen(outbox(i)))));
      const waiting = new Map(outboxNames.map((name, i) => [name, sizes[i] ?? 0]));
      return {
        measuredAtMs: timeMs(time as unknown as RedisTime),
        decidedAtMs: numberIn(fields.decidedAt),
        outbox: sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0),
        ignored: numberIn(fields.ignored) ?? 0,
        unreadable: records.unreadable,
        receivers: names.map((receiver): ReceiverStatus => {
          const countOf = (what: string) => numberIn(fields[`${what}:${receiver}`]) ?? 0;
          return {
            ...{ receiver, waiting: waiting.get(receiver) ?? 0 },
            ...{ delivered: countOf("delivered"), failed: countOf("failed"), dropped: countOf("dropped") },
          };
        }),
      };
    },
  };
}

/** Seconds, and microseconds of the running one. */
type RedisTime = readonly [seconds: string | number, microseconds: string | number];

function timeMs([seconds, microseconds]: RedisTime): number {
  return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000);
}

/** Null when the key holds another type: `begin` sets it aside. */
async function unlessWrongType<T>(reply: Promise<T>): Promise<T | null> {
  try {
    return await answered(reply);
  } catch (error) {
    if (messageOf(error).startsWith("WRONGTYPE")) return null;
    throw error;
  }
}

function numberIn(text: string | undefined): number | null {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function namesIn(json: string | undefined): readonly string[] {
  try {
    const names: unknown = JSON.parse(json ?? "[]");
    return Array.isArray(names) ? names.filter((name) => typeof name === "string") : [];
  } catch {
    return [];
  }
}
