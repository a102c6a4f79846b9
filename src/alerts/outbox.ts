import type { RedisClient } from "../redis/connect.ts";
import { answered } from "../redis/errors.ts";

/** A notification that a webhook has not accepted yet. */
export interface OutboxEntry {
  /** Of the entry in the stream. */
  readonly id: string;
  readonly alertId: string;
  readonly body: string;
}

/** The notifications for one webhook, oldest first. Everything throws AppError SERVICE_UNAVAILABLE when Redis does not answer. */
export interface Outbox {
  /** The receiver's name, as `alertStatus` has it. */
  readonly receiver: string;
  /** Those behind this id; null: from the oldest. */
  after(id: string | null, limit: number): Promise<OutboxEntry[]>;
  /** Null when it is not there any more. */
  get(id: string): Promise<OutboxEntry | null>;
  remove(id: string): Promise<void>;
}

export function createOutbox(redis: RedisClient, key: string, receiver: string): Outbox {
  async function range(from: string, to: string, limit: number): Promise<OutboxEntry[]> {
    const entries = await answered(redis.xrange(key, from, to, "COUNT", limit));
    return entries.map(([id, [, alertId = "", , body = ""]]) => ({ id, alertId, body }));
  }
  return {
    receiver,
    after: (id, limit) => range(id === null ? "-" : `(${id}`, "+", limit),
    get: async (id) => (await range(id, id, 1))[0] ?? null,
    remove: async (id) => void (await answered(redis.xdel(key, id))),
  };
}
