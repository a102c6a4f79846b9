import { type HistoryStep, stepSeconds } from "../core/history.ts";

/**
 * Every key and channel name of the project. All keys of one queue carry the same hash tag, so that they live on one shard
 * of a Redis Cluster; different queues never share a key, whatever their names contain.
 */
export interface Keys {
  /** Sorted set of waiting and scheduled jobs, `<attempt>:<jobId>`, scored by claimable-since in ms. */
  waiting(queue: string): string;
  /** Hash: source, totals, and for observed queues the last observation. A queue is known when this exists. */
  state(queue: string): string;
  /** The queue whose state this key is; null: it is none of ours. */
  queueOf(stateKey: string): string | null;
  /** Hash of the slots that throughput and wait times are counted in. */
  recent(queue: string): string;
  /** The two hashes that take turns in remembering tombstones and batches. */
  departed(queue: string): readonly [even: string, odd: string];
  /** All keys that a queue can have, in the order that fold.lua and forget.lua want them. */
  all(queue: string): string[];
  /** Stream of the steps of the history, each with the time at which it began as its id. Outlives the queue's other keys. */
  history(queue: string, step: HistoryStep): string;
  /** Sorted set of all names of queues, every score 0, so that it is ordered by name. */
  readonly index: string;
  /** Set of the names of recorded queues that have a state. */
  readonly recorded: string;
  /** Channel on which the name of a queue is published whenever its state may have changed. */
  readonly changes: string;
  /** Held by the process that sweeps. */
  readonly sweepLease: string;
  /** A client's token buckets. Version 1 counted in `throttle:CLIENT`, which is left to expire. */
  throttle(client: string): string;
  /** Of a lease: who has it, and the counter of its fencing tokens. */
  lease(name: string): readonly [holder: string, fence: string];
  readonly alerts: AlertKeys;
}

/** All alerts are on one node, so that a change of an alert and its notification are written in one step. */
export interface AlertKeys {
  /** Hash of the alerts that have not ended, by id: a line with the acknowledgement, empty without one, and a line with the alert. */
  readonly active: string;
  /** List of those that fired and have ended, as `active` has them, newest first. */
  readonly resolved: string;
  /** Stream of notifications that a webhook has not accepted yet, the first webhook being 0: `alert` its id, `body` what is sent. */
  outbox(webhook: number): string;
  /** Hash: newest fencing token, when it was last decided, and what is counted of receivers. */
  readonly state: string;
  /** Channel on which an alert is published, as `active` has it, whenever it is another one. */
  readonly changes: string;
}

export function createKeys(prefix: string): Keys {
  const ofQueue = (queue: string, part: string) => `${prefix}:{${hashTag(queue)}}:${part}`;
  const keys: Keys = {
    waiting: (queue) => ofQueue(queue, "waiting"),
    state: (queue) => ofQueue(queue, "state"),
    queueOf(stateKey) {
      if (!stateKey.startsWith(`${prefix}:{`) || !stateKey.endsWith("}:state")) return null;
      const tag = stateKey.slice(prefix.length + 2, -"}:state".length);
      return /[{}]/.test(tag)
        ? null
        : tag.replace(/%(25|7b|7d)/g, (_, code) => String.fromCharCode(Number.parseInt(code, 16)));
    },
    recent: (queue) => ofQueue(queue, "recent"),
    departed: (queue) => [ofQueue(queue, "departed:0"), ofQueue(queue, "departed:1")],
    all(queue) {
      const tagged = ofQueue(queue, "");
      return ["waiting", "state", "recent", "departed:0", "departed:1"].map((name) => tagged + name);
    },
    history: (queue, step) => ofQueue(queue, `history:${stepSeconds[step]}`),
    index: `${prefix}:queues`,
    recorded: `${prefix}:queues:recorded`,
    changes: `${prefix}:changes`,
    sweepLease: `${prefix}:sweep`,
    throttle: (client) => `${prefix}:throttle:buckets:${client}`,
    alerts: {
      active: `${prefix}:alerts:{alerts}:active`,
      resolved: `${prefix}:alerts:{alerts}:resolved`,
      outbox: (webhook) => `${prefix}:alerts:{alerts}:outbox${webhook === 0 ? "" : `:${webhook + 1}`}`,
      state: `${prefix}:alerts:{alerts}:state`,
      changes: `${prefix}:alerts`,
    },
    lease: (name) => [`${prefix}:lease:{${hashTag(name)}}`, `${prefix}:lease:{${hashTag(name)}}:fence`],
  };
  return keys;
}

/** Braces would end or empty the hash tag (`{a}b` and `a` would meet), so they are written as percent codes. */
function hashTag(queue: string): string {
  if (!/[%{}]/.test(queue)) return queue;
  return queue.replace(/[%{}]/g, (char) => `%${char.charCodeAt(0).toString(16)}`);
}
