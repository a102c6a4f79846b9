import { readFile } from "node:fs/promises";
import type { Redis } from "ioredis";

/** Text, or bytes that are no text. */
type Saved = string | { readonly base64: string };

interface SavedKey {
  readonly type: "string" | "hash" | "list" | "zset" | "stream";
  /** Time to live when it was saved; -1: it had none. */
  readonly ttlMs: number;
  readonly value: Saved | readonly Saved[] | readonly (readonly [id: string, fields: readonly Saved[]])[];
}

/** All keys of a server with the prefix `ql`, written down by its own code's means. */
export interface SavedState {
  readonly savedAtMs: number;
  /** What that server answered then. */
  // biome-ignore lint/suspicious/noExplicitAny: its reader knows the shape
  readonly answers: any;
  readonly keys: Readonly<Record<string, SavedKey>>;
}

export async function readSavedState(name: string): Promise<SavedState> {
  return JSON.parse(await readFile(new URL(`../fixtures/${name}.json`, import.meta.url), "utf8"));
}

const hourMs = 3_600_000;

/**
 * Writes saved keys under another prefix. Steps of the history, whose ids are times, are moved by whole hours to before now, so that
 * they are not too old to be asked for.
 *
 * @param which "fresh": all of them; "old": those that had no expiry, as after a long pause.
 */
export async function restore(
  redis: Redis,
  state: SavedState,
  prefix: string,
  which: "fresh" | "old",
): Promise<void> {
  const movedMs = Math.floor((Date.now() - state.savedAtMs) / hourMs) * hourMs;
  const pipeline = redis.pipeline();
  for (const [name, { type, ttlMs, value }] of Object.entries(state.keys)) {
    if (which === "old" && ttlMs >= 0) continue;
    const key = name.replace(/^ql:/, `${prefix}:`);
    if (type === "string") pipeline.set(key, bytes(value as Saved));
    else if (type === "stream") {
      for (const [id, fields] of value as readonly (readonly [string, readonly Saved[]])[]) {
        const [ms = "", ...rest] = id.split("-");
        const isHistory = name.includes(":history:");
        const newId = [isHistory ? Number(ms) + movedMs : ms, ...rest].join("-");
        pipeline.xadd(key, newId, ...fields.map(bytes));
      }
    } else {
      const items = (value as readonly Saved[]).map(bytes);
      if (type === "hash") pipeline.call("HSET", [key, ...items]);
      else if (type === "list") pipeline.rpush(key, ...items);
      // Members and scores, in the order of ZRANGE.
      else pipeline.call("ZADD", [key, ...pairs(items).flatMap(([member, score]) => [score, member])]);
    }
    if (ttlMs >= 0) pipeline.pexpire(key, Math.max(ttlMs, 600_000));
  }
  for (const [error] of (await pipeline.exec()) ?? []) if (error !== null) throw error;
}

function bytes(saved: Saved): Buffer {
  return typeof saved === "string" ? Buffer.from(saved) : Buffer.from(saved.base64, "base64");
}

function pairs(items: readonly Buffer[]): readonly (readonly [Buffer, Buffer])[] {
  return items.flatMap((item, i) => (i % 2 === 0 ? [[item, items[i + 1] as Buffer] as const] : []));
}
