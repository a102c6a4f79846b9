import type { Acknowledgement, Alert, AlertStatus, ReceiverStatus } from "../core/alerts.ts";
import { LeaseLostError } from "../core/lease.ts";
import type { RedisClient } from "../redis/connect.ts";
import { unavailableOr } from "../redis/errors.ts";
import type { Keys } from "../redis/keys.ts";
import { loadScript, runScript } from "../redis/scripts.ts";

/** What became of one alert: it is kept, it is kept among those that have ended, or it leaves no trace. */
export interface AlertChange {
  readonly what: "keep" | "resolve" | "end";
  readonly alert: Alert;
  /** Goes into the outbox with it; null: nobody is told. */
  readonly word: object | null;
}

/** A notification that waits for the webhook. */
export interface OutboxEntry {
  /** Of the entry, by which it is taken out. */
  readonly id: string;
  readonly alertId: string;
  readonly body: string;
  readonly writtenAtMs: number;
}

/** What is kept of alerts in Redis. Everything throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
export interface AlertStore {
  /**
   * Begins a round. @param decidedAtMs of the last round that was finished.
   * @returns the time, by Redis's clock. @throws LeaseLostError when somebody with a later fence was here.
   */
  begin(fence: number, decidedAtMs: number | null): Promise<number>;
  /** All of it or nothing for up to a hundred at a time. @throws LeaseLostError as `begin`; then nothing was written. */
  write(fence: number, changes: readonly AlertChange[]): Promise<void>;
  active(): Promise<Alert[]>;
  /** Newest first. */
  resolved(first: number): Promise<Alert[]>;
  /** @returns the alert; null when there is none with this id that has not ended. */
  acknowledge(id: string, by: string): Promise<Alert | null>;
  /** The oldest notifications. */
  outbox(first: number): Promise<OutboxEntry[]>;
  takeOut(ids: readonly string[]): Promise<void>;
  count(field: CountField, by: number): Promise<void>;
  status(): Promise<Omit<AlertStatus, "pending" | "firing">>;
}

export type CountField = "ignored" | `${"delivered" | "failed" | "dropped"}:${string}`;

const mostResolved = 1_000;
const changesPerCall = 100;
/** While nobody decides, for a week, all of it is forgotten. */
const keptForMs = 7 * 86_400_000;

export interface AlertStoreOptions {
  readonly redis: RedisClient;
  readonly keys: Keys;
  /** How many notifications wait at most; 0: nobody takes them, and none are kept. @default 10_000 */
  readonly mostWords?: number;
  /** Tests only: the time instead of Redis's, in ms. */
  readonly now?: (() => number) | undefined;
}

export function createAlertStore({ redis, keys, mostWords = 10_000, now }: AlertStoreOptions): AlertStore {
  const script = (name: string, file: string) =>
    loadScript(name, new URL(`lua/${file}.lua`, import.meta.url));
  const beginScript = script("queueLatencyAlertsBegin", "alerts-begin");
  const writeScript = script("queueLatencyAlertsWrite", "alerts-write");
  const acknowledgeScript = script("queueLatencyAlertsAcknowledge", "alerts-acknowledge");
  const { active, resolved, outbox, state, changes: channel } = keys.alerts;
  const all = [state, active, resolved, outbox];

  async function fenced(reply: Promise<unknown>): Promise<number> {
    const answer = Number(await reply);
    if (answer === -1) throw new LeaseLostError("what becomes of alerts");
    return answer;
  }

  return {
    begin: (fence, decidedAtMs) =>
      fenced(
        runScript(redis, beginScript, {
          keys: all,
          args: [fence, decidedAtMs ?? "", keptForMs, now?.() ?? ""],
        }),
      ),
    async write(fence, changes) {
      for (let from = 0; from < changes.length; from += changesPerCall) {
        const args = changes
          .slice(from, from + changesPerCall)
          .flatMap(({ what, alert, word }) => [
            what,
            alert.id,
            toJson(alert),
            word === null || mostWords === 0 ? "" : JSON.stringify(word),
          ]);
        const call = { keys: all, args: [fence, channel, mostResolved, mostWords, ...args] };
        await fenced(runScript(redis, writeScript, call));
      }
    },
    active: async () => Object.values(await answered(redis.hgetall(active))).map(toAlert),
    resolved: async (first) =>
      first === 0 ? [] : (await answered(redis.lrange(resolved, 0, first - 1))).map(toAlert),
    async acknowledge(id, by) {
      const args = [id, JSON.stringify(by), channel];
      const record = await runScript(redis, acknowledgeScript, { keys: [active], args });
      return record === null ? null : toAlert(String(record));
    },
    async outbox(first) {
      const entries = await answered(redis.xrange(outbox, "-", "+", "COUNT", first));
      return entries.map(([id, [, alertId = "", , body = ""]]) => ({
        ...{ id, alertId, body },
        writtenAtMs: Number.parseInt(id, 10),
      }));
    },
    async takeOut(ids) {
      if (ids.length > 0) await answered(redis.xdel(outbox, ...ids));
    },
    async count(field, by) {
      if (by > 0) await answered(redis.hincrby(state, field, by));
    },
    async status() {
      const [fields, waiting] = await answered(Promise.all([redis.hgetall(state), redis.xlen(outbox)]));
      return {
        decidedAtMs: fields.decidedAt === undefined ? null : Number(fields.decidedAt),
        outbox: waiting,
        ignored: Number(fields.ignored ?? 0),
        receivers: receiversOf(fields),
      };
    },
  };
}

/** @throws Error when it is no record of an alert. */
export function toAlert(record: string): Alert {
  const [known = "", json = ""] = record.split("\n", 2);
  const acknowledgement = known === "" ? null : (JSON.parse(known) as Acknowledgement);
  return { ...(JSON.parse(json) as Omit<Alert, "acknowledgement">), acknowledgement };
}

function toJson({ acknowledgement: _, ...alert }: Alert): string {
  return JSON.stringify(alert);
}

function receiversOf(fields: Readonly<Record<string, string>>): readonly ReceiverStatus[] {
  const names = Object.keys(fields).flatMap(
    (field) => /^(?:delivered|failed|dropped):(.+)$/.exec(field)?.[1] ?? [],
  );
  const countOf = (what: string, name: string) => Number(fields[`${what}:${name}`] ?? 0);
  return [...new Set(names)].sort().map((receiver) => ({
    receiver,
    delivered: countOf("delivered", receiver),
    failed: countOf("failed", receiver),
    dropped: countOf("dropped", receiver),
  }));
}

async function answered<T>(reply: Promise<T>): Promise<T> {
  try {
    return await reply;
  } catch (error) {
    throw unavailableOr(error);
  }
}
