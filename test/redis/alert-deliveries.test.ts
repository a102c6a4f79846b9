import { Webhook } from "standardwebhooks";
import { describe, expect, inject, onTestFinished, test, vi } from "vitest";
import { createDeliveries, type Receivers } from "../../src/alerts/deliveries.ts";
import { begun, changeTo, ended, fired } from "../../src/alerts/make-alert.ts";
import { parseRules } from "../../src/alerts/parse-rules.ts";
import type { Alert, ReceiverStatus } from "../../src/core/alerts.ts";
import { wallClock } from "../../src/core/clock.ts";
import { openAlerts } from "../support/alerts.ts";
import { type HttpReceiver, type ReceivedRequest, startReceiver } from "../support/http-receiver.ts";
import { recordingLogger } from "../support/logger.ts";

const yaml = `rules: [{ name: Late, queues: "*", latency_above: 60, severity: page, labels: { team: x }, annotations: { summary: Slow. } }]`;
const [rule] = parseRules(yaml) as [ReturnType<typeof parseRules>[number]];
const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const nowMs = wallClock.epochMs();

const firing = (queue: string) => {
  const facts = {
    ...{
      measuredAtMs: nowMs,
      latencyMs: 90_000,
      oldestSinceMs: nowMs - 90_000,
      depth: 3,
      accuracy: "EXACT" as const,
    },
    throughput: null,
    health: [{ health: "SLOW" as const, sinceMs: nowMs - 1 }],
  };
  return fired(begun(rule, queue, 61, nowMs - 30_000), rule, { value: 90, facts, nowMs });
};
const resolved = (alert: Alert) => ended(alert, "RECOVERED", 5, nowMs + 1);

/** Delivers what a test writes. */
async function open(receivers: Partial<Receivers>, timing = {}) {
  const { store } = await openAlerts(inject("redisUrl"), yaml);
  const logger = recordingLogger();
  const active = new Map<string, Alert>();
  const decider = {
    active: () => active.values(),
    get decidedAtMs(): number | null {
      return null;
    },
  };
  const deliveries = createDeliveries({
    ...{ store, decider, logger, resendMs: 3_600_000, retryMs: 2, ...timing },
    receivers: { alertmanagers: [], webhook: null, heartbeat: null, ...receivers },
  });
  onTestFinished(deliveries.stop);
  await deliveries.start();
  return {
    ...{ store, logger, decider, deliveries },
    async write(...alerts: readonly Alert[]) {
      await store.write(1, alerts.map(changeTo));
      for (const alert of alerts) {
        if (alert.state === "RESOLVED") active.delete(alert.id);
        else active.set(alert.id, alert);
      }
      deliveries.nudge();
    },
    counts: async (): Promise<Readonly<Record<string, Omit<ReceiverStatus, "receiver">>>> =>
      Object.fromEntries(
        (await store.status()).receivers.map(({ receiver, ...counts }) => [receiver, counts]),
      ),
    empty: () => expect.poll(async () => (await store.outbox(1)).length, { timeout: 10_000 }).toBe(0),
  };
}

const idOf = ({ headers }: ReceivedRequest) => String(headers["webhook-id"]);
/** @throws when the signature is not right. */
const verified = ({ body, headers }: ReceivedRequest) =>
  // biome-ignore lint/suspicious/noExplicitAny: each test knows what it was told
  new Webhook(secret).verify(body, headers as Record<string, string>) as any;

describe("a webhook", () => {
  const hook = ({ url }: HttpReceiver) => ({ webhook: { url: `${url}/hook?x=1`, secret } });

  test("is told, signed, and each alert's words in their order", async () => {
    const receiver = await startReceiver();
    const { write, empty, counts } = await open(hook(receiver));
    const [a, b] = [firing("a"), firing("b")];
    await write(a, b);
    await write(resolved(a));
    await empty();
    expect(receiver.received.map(idOf).sort()).toEqual(
      [`${a.id}-firing`, `${a.id}-resolved`, `${b.id}-firing`].sort(),
    );
    expect(receiver.received.map(idOf).filter((id) => id.startsWith(a.id))).toEqual([
      `${a.id}-firing`,
      `${a.id}-resolved`,
    ]);
    const [first] = receiver.received.filter((request) => idOf(request).startsWith(a.id));
    expect(first).toMatchObject({
      method: "POST",
      path: "/hook?x=1",
      headers: { "content-type": "application/json" },
    });
    expect(verified(first!)).toEqual({
      type: "alert.firing",
      timestamp: new Date(nowMs).toISOString(),
      data: {
        ...{
          id: a.id,
          rule: "Late",
          queue: "a",
          state: "FIRING",
          end: null,
          subject: "latency",
          value: 90,
          threshold: 60,
        },
        ...{ severity: "page", labels: { team: "x" }, annotations: { summary: "Slow." } },
        since: new Date(nowMs - 30_000).toISOString(),
        firedAt: new Date(nowMs).toISOString(),
        endedAt: null,
        facts: {
          ...{ latency: 90, depth: 3, accuracy: "EXACT", throughput: null },
          measuredAt: new Date(nowMs).toISOString(),
          oldestSince: new Date(nowMs - 90_000).toISOString(),
          health: [{ health: "SLOW", since: new Date(nowMs - 1).toISOString() }],
        },
      },
    });
    expect(() => verified({ ...first!, body: first!.body.replace("FIRING", "firing") })).toThrow();
    await expect.poll(counts).toEqual({ webhook: { delivered: 3, failed: 0, dropped: 0 } });
  });

  test.each([
    { how: "is overloaded", answer: 429 },
    { how: "does not work", answer: 503 },
    { how: "sends elsewhere, where nobody follows", answer: 302 },
  ])("that $how is told again, with the same id and a new signature, until it has it", async ({ answer }) => {
    const receiver = await startReceiver();
    receiver.answer = () => (receiver.received.length < 4 ? answer : 204);
    const { write, empty, counts, logger } = await open(hook(receiver));
    await write(firing("a"));
    await empty();
    expect(receiver.received).toHaveLength(4);
    expect(new Set(receiver.received.map(idOf)).size).toBe(1);
    for (const request of receiver.received) verified(request);
    await expect.poll(counts).toEqual({ webhook: { delivered: 1, failed: 3, dropped: 0 } });
    expect(logger.lines.map(({ level }) => level)).toEqual(["warn", "debug", "debug", "info"]);
    expect(JSON.stringify(logger.lines)).not.toMatch(/whsec|hook\?x/);
  });

  test("hears of an alert's end after its beginning, however often that has to be told", async () => {
    const receiver = await startReceiver();
    receiver.answer = ({ body }) =>
      body.includes("alert.firing") && receiver.received.length < 4 ? 503 : 200;
    const { write, empty } = await open(hook(receiver));
    const a = firing("a");
    await write(a, resolved(a));
    await empty();
    expect(receiver.received.map((request) => idOf(request).replace(`${a.id}-`, ""))).toEqual([
      ...["firing", "firing", "firing", "firing", "resolved"],
    ]);
  });

  test("that refuses a word eight times is not told it any more, and the others are not held up", async () => {
    const receiver = await startReceiver();
    receiver.answer = ({ body }) => (body.includes('"bad"') ? 400 : 200);
    const { write, empty, counts, logger } = await open(hook(receiver));
    await write(firing("bad"), firing("good"));
    await empty();
    await expect.poll(counts).toEqual({ webhook: { delivered: 1, failed: 8, dropped: 1 } });
    expect(logger.lines.filter(({ level }) => level === "error")).toMatchObject([
      { message: "a notification is given up", fields: { reason: expect.stringContaining("400: so it is") } },
    ]);
  });

  test("is not told what is older than a day", async () => {
    const receiver = await startReceiver();
    const later = vi.spyOn(wallClock, "epochMs").mockReturnValue(nowMs + 86_500_000);
    onTestFinished(() => later.mockRestore());
    const { write, empty, counts } = await open(hook(receiver));
    await write(firing("a"));
    await empty();
    expect(receiver.received).toEqual([]);
    await expect.poll(counts).toEqual({ webhook: { delivered: 0, failed: 0, dropped: 1 } });
  });

  test("is told what another process has left in the outbox", async () => {
    const receiver = await startReceiver();
    const first = await open(hook(receiver));
    receiver.answer = () => "nothing";
    await first.write(firing("a"));
    await expect.poll(() => receiver.received.length).toBe(1);
    await first.deliveries.stop();
    receiver.answer = () => 200;
    const second = createDeliveries({
      ...{ store: first.store, decider: first.decider, logger: first.logger },
      receivers: { alertmanagers: [], heartbeat: null, ...hook(receiver) },
    });
    onTestFinished(second.stop);
    await second.start();
    await first.empty();
    expect(receiver.received).toHaveLength(2);
    expect(idOf(receiver.received[0]!)).toBe(idOf(receiver.received[1]!));
  });
});

describe("an Alertmanager", () => {
  const last = ({ received }: HttpReceiver) => JSON.parse(received.at(-1)?.body ?? "[]");

  test("is told what fires and what has ended, by POST to its API v2, with the credentials of its URL", async () => {
    const receiver = await startReceiver();
    const url = receiver.url.replace("://", "://user:p%20w@");
    const { write } = await open({ alertmanagers: [`${url}/prefix/`] });
    const [a, b] = [firing("a"), firing("b")];
    await write(a, b);
    await expect.poll(() => last(receiver)).toHaveLength(2);
    await write(resolved(a));
    await expect
      .poll(() => last(receiver).map(({ endsAt }: { endsAt: string }) => Date.parse(endsAt) > Date.now()))
      .toEqual([true, false]);
    expect(receiver.received[0]).toMatchObject({
      ...{ method: "POST", path: "/prefix/api/v2/alerts" },
      headers: { authorization: `Basic ${Buffer.from("user:p w").toString("base64")}` },
    });
    expect(last(receiver)[1]).toMatchObject({
      labels: { alertname: "Late", queue: "a", severity: "page", team: "x" },
      annotations: {
        summary: "Slow.",
        value: "5",
        threshold: "60",
        facts: expect.stringContaining('"depth":3'),
      },
      startsAt: new Date(nowMs).toISOString(),
    });
  });

  test("is told again and again while something fires, and nothing when nothing does", async () => {
    const receiver = await startReceiver();
    const { write } = await open({ alertmanagers: [receiver.url] }, { resendMs: 5 });
    await write();
    const a = firing("a");
    expect(receiver.received).toEqual([]);
    await write(a);
    await expect.poll(() => receiver.received.length).toBeGreaterThan(3);
  });

  test("is not told that an alert has ended that fires again", async () => {
    const receiver = await startReceiver();
    const { write } = await open({ alertmanagers: [receiver.url] });
    const a = firing("a");
    await write(a);
    await write(resolved(a));
    await write({ ...a, id: "another" });
    await expect.poll(() => last(receiver)).toHaveLength(1);
    expect(Date.parse(last(receiver)[0].endsAt)).toBeGreaterThan(Date.now());
  });

  test("that is dead, slow or refuses holds up nobody else", async () => {
    const [slow, wrong, good] = [await startReceiver(), await startReceiver(), await startReceiver()];
    slow.answer = () => "nothing";
    wrong.answer = () => 400;
    const dead = "http://127.0.0.1:1";
    const { write, empty, counts } = await open({
      alertmanagers: [dead, slow.url, wrong.url, good.url],
      webhook: { url: good.url, secret },
    });
    const a = firing("a");
    await write(a);
    await empty();
    await write(resolved(a));
    await empty();
    const postedTo = (path: string) => good.received.filter((request) => request.path === path);
    expect(postedTo("/")).toHaveLength(2);
    await expect.poll(() => postedTo("/api/v2/alerts").at(-1)?.body).toContain('"value":"5"');
    const host = (url: string) => `alertmanager ${new URL(url).host}`;
    await expect
      .poll(counts)
      .toMatchObject({ webhook: { delivered: 2, failed: 0 }, [host(good.url)]: { failed: 0 } });
    await expect.poll(async () => (await counts())[host(wrong.url)]?.failed).toBeGreaterThan(1);
    await expect.poll(async () => (await counts())[host(dead)]?.failed).toBeGreaterThan(1);
    expect(slow.received).toHaveLength(1);
  });
});

describe("a heartbeat", () => {
  test("beats when alerts are decided, and only then", async () => {
    const receiver = await startReceiver();
    const { decider, counts } = await open({ heartbeat: `${receiver.url}/ping?key=1` }, { resendMs: 60 });
    let decidedAtMs: number | null = null;
    const asked = vi.spyOn(decider, "decidedAtMs", "get").mockImplementation(() => decidedAtMs);
    const isAskedAgain = async () => {
      asked.mockClear();
      await expect.poll(() => asked.mock.calls.length).toBeGreaterThan(3);
    };
    await isAskedAgain();
    expect(receiver.received).toEqual([]);
    decidedAtMs = nowMs;
    await expect.poll(() => receiver.received).toMatchObject([{ method: "GET", path: "/ping?key=1" }]);
    decidedAtMs = nowMs + 59;
    await isAskedAgain();
    expect(receiver.received).toHaveLength(1);
    decidedAtMs = nowMs + 60;
    await expect.poll(() => receiver.received.length).toBe(2);
    await expect.poll(counts).toEqual({ heartbeat: { delivered: 2, failed: 0, dropped: 0 } });
  });
});
