import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Redis } from "ioredis";
import { afterEach, beforeEach, describe, expect, inject, onTestFinished, test } from "vitest";
import { startReceiver } from "../support/http-receiver.ts";
import { connectTo, uniquePrefix } from "../support/redis.ts";
import { readSavedState, restore, type SavedState } from "../support/saved-state.ts";
import { ask, startApp } from "../support/server.ts";

/** What a queue of recorded events says is kept over an upgrade; only a loss has another name since version 2. */
const fields = "queue source state depth scheduled lost accuracy stale latency";

interface Row {
  readonly queue: string;
  readonly source: string;
  readonly latency: number;
  readonly accuracy: string;
}

let redis: Redis;
let prefix: string;
let saved: SavedState;

beforeEach(async () => {
  redis = connectTo(inject("redisUrl")) as Redis;
  prefix = uniquePrefix();
  saved = await readSavedState("version-1");
});
afterEach(() => redis.disconnect());

/** Of what was saved long ago nothing is dropped for its age. */
const start = (env: Readonly<Record<string, string>> = {}) =>
  startApp({
    REDIS_URL: inject("redisUrl"),
    KEY_PREFIX: prefix,
    MAX_WAIT: "3650d",
    QUEUE_TTL: "3650d",
    ...env,
  });

const readAll = async (url: string): Promise<Row[]> => {
  const { body } = await ask(url, `{ queues(first: 20) { edges { node { ${fields} } } } }`);
  expect(body.errors).toBeUndefined();
  return body.data.queues.edges.map(({ node }: { node: Row }) => node);
};

/** Rows of version 1, as this version says them. */
function expected({ answers }: SavedState): readonly object[] {
  return answers.queues.edges
    .map(({ node }: { node: Row }) => node)
    .filter(({ source }: Row) => source === "events")
    .map(({ latency, accuracy, ...row }: Row) => ({
      ...row,
      accuracy: accuracy === "LOWER_BOUND" ? "INCOMPLETE" : accuracy,
      latency: latency === 0 ? 0 : expect.toSatisfy((now: number) => now >= latency),
    }));
}

describe("the state that version 1 left in Redis", () => {
  test.each([
    { which: "fresh", why: "it was stopped a moment ago" },
    { which: "old", why: "what expires has expired meanwhile" },
  ] as const)("is what this version answers, when $why", async ({ which }) => {
    await restore(redis, saved, prefix, which);
    await using app = await start();
    const rows = await readAll(app.url);
    expect(rows.filter(({ source }) => source === "events")).toEqual(expected(saved));

    const events = ["1", "2", "3", "4", "5"].map(
      (jobId) => `{ type: DEQUEUED, queue: "orders", jobId: "${jobId}" }`,
    );
    await ask(app.url, `mutation { recordEvents(events: [${events}]) { accepted } }`);
    expect((await readAll(app.url)).find(({ queue }) => queue === "orders")).toMatchObject({
      state: "EMPTY",
      depth: 0,
      scheduled: 0,
      accuracy: "EXACT",
    });
  });

  test("of queues of job systems is said to be old, until their source is read again", async () => {
    await restore(redis, saved, prefix, "fresh");
    await using app = await start();
    const rows = await readAll(app.url);
    expect(rows.filter(({ source }) => source !== "events")).toMatchObject([
      { queue: "bullmq/mail", depth: 2, scheduled: 1, stale: true },
      { queue: "sidekiq/default", depth: 1, stale: true },
    ]);
  });

  test("keeps a firing alert as it is, and delivers the notification that was not taken", async () => {
    await restore(redis, saved, prefix, "fresh");
    const dir = await mkdtemp(join(tmpdir(), "ql-upgrade-"));
    onTestFinished(() => rm(dir, { recursive: true }));
    const file = join(dir, "alerts.yml");
    await writeFile(
      file,
      "rules:\n  - name: Late\n    queues: [orders]\n    latency_above: 1s\n    for: 0s\n    labels: { team: shop }\n",
    );
    const receiver = await startReceiver();
    await using app = await start({
      ALERTS_FILE: file,
      ALERT_WEBHOOK_URL: receiver.url,
      ALERT_WEBHOOK_SECRET: `whsec_${Buffer.alloc(24, 7).toString("base64")}`,
    });
    const [before] = saved.answers.alerts;
    await expect.poll(() => receiver.received.length).toBeGreaterThan(0);
    const notification = JSON.parse(receiver.received[0]?.body ?? "{}");
    expect(JSON.stringify(notification)).toContain(before.id);
    const { body } = await ask(
      app.url,
      "{ alertStatus { decidedAt firing } alerts(first: 5) { id rule queue state } }",
    );
    expect(body.data.alerts).toEqual([before]);
  });

  test("has its history", async () => {
    await restore(redis, saved, prefix, "fresh");
    await using app = await start({ HISTORY_TEN_SECONDS: "7d" });
    const to = new Date().toISOString();
    const from = new Date(Date.now() - 2 * 3_600_000).toISOString();
    const query = `{ queueLatency(queues: ["busy"]) { history(from: "${from}", to: "${to}", step: TEN_SECONDS) { enqueued dequeued } } }`;
    const { body } = await ask(app.url, query);
    expect(body.errors).toBeUndefined();
    const points: { enqueued: number; dequeued: number }[] = body.data.queueLatency[0].history;
    const sum = (field: "enqueued" | "dequeued") => points.reduce((all, point) => all + point[field], 0);
    // A job was enqueued every second for 75 s; the last, incomplete step was not written.
    expect(sum("enqueued")).toBeGreaterThan(60);
    expect(sum("enqueued") - sum("dequeued")).toBe(4);
  });
});
