import fc from "fast-check";
import { Webhook } from "standardwebhooks";
import { describe, expect, inject, onTestFinished, test, vi } from "vitest";
import type { Round } from "../../src/alerts/evaluator.ts";
import { changeTo, createAlert, ended, fired } from "../../src/alerts/make-alert.ts";
import { createNotifiers, type Receivers, receiverNames } from "../../src/alerts/notifiers.ts";
import { type Alert, maxRefusals, type ReceiverStatus } from "../../src/core/alerts.ts";
import { wallClock } from "../../src/runtime/clock.ts";
import { parseAlertRules } from "../../src/settings/parse-alert-rules.ts";
import { openAlerts } from "../support/alerts.ts";
import { type HttpReceiver, type ReceivedRequest, startReceiver } from "../support/http-receiver.ts";
import { recordingLogger } from "../support/logger.ts";

const yaml = `rules: [{ name: Late, queues: "*", latency_above: 60, severity: page, labels: { team: x }, annotations: { summary: Slow. } }]`;
const [rule] = parseAlertRules(yaml) as [ReturnType<typeof parseAlertRules>[number]];
const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const nowMs = wallClock.epochMs();

const firing = (queue: string) => {
  const facts = {
    ...{
      measuredAtMs: nowMs,
      latencyMs: 90_000,
      oldestSinceMs: nowMs - 90_000,
      depth: 3,
      overtaken: 1,
      inOrderLatencyMs: 4_000.4,
      accuracy: "EXACT" as const,
    },
    throughput: { enqueuedPerSecond: 1 / 60, dequeuedPerSecond: 2 / 3 },
    health: [{ health: "SLOW" as const, sinceMs: nowMs - 1 }],
  };
  return fired(createAlert(rule, queue, 61, nowMs - 30_000), rule, { value: 90.000_04, facts, nowMs });
};
const resolved = (alert: Alert) => ended(alert, "RECOVERED", 4.999_96, nowMs + 1);

/** Delivers what a test writes. */
async function open(given: Partial<Receivers>, timing = {}) {
  const receivers = { alertmanagers: [], webhooks: [], heartbeat: null, ...given };
  const names = receiverNames(receivers);
  const { store, redis, keys } = await openAlerts(inject("redisUrl"), yaml, {
    webhooks: names.webhooks,
    receivers: names.all,
  });
  await store.begin(1, null);
  const logger = recordingLogger();
  const active = new Map<string, Alert>();
  const evaluator = {
    active: () => active.values(),
    get lastRound(): Round | null {
      return null;
    },
  };
  const start = async () => {
    const notifiers = createNotifiers({
      // Nothing times out because this machine is busy: it would be delivered once more.
      ...{
        store,
        evaluator,
        logger,
        resendMs: 3_600_000,
        retryMs: 2,
        timeoutMs: 3_600_000,
        ...timing,
        receivers,
      },
    });
    onTestFinished(notifiers.stop);
    await notifiers.start();
    return notifiers;
  };
  const notifiers = await start();
  return {
    ...{ store, redis, keys, logger, evaluator, notifiers, start },
    async write(...alerts: readonly Alert[]) {
      await store.write(1, alerts.map(changeTo));
      for (const alert of alerts) {
        if (alert.state === "RESOLVED") active.delete(alert.id);
        else active.set(alert.id, alert);
      }
      notifiers.wake();
    },
    counts: async (): Promise<Readonly<Record<string, Omit<ReceiverStatus, "receiver">>>> =>
      Object.fromEntries(
        (await store.status()).receivers.map(({ receiver, ...counts }) => [receiver, counts]),
      ),
    empty: () => expect.poll(async () => (await store.status()).outbox).toBe(0),
  };
}

const idOf = ({ headers }: ReceivedRequest) => String(headers["webhook-id"]);
/** @throws when the signature is not right. */
const verified = ({ body, headers }: ReceivedRequest) =>
  // biome-ignore lint/suspicious/noExplicitAny: each test knows what was sent to it
  new Webhook(secret).verify(body, headers as Record<string, string>) as any;

describe("a webhook", () => {
  const hook = ({ url }: HttpReceiver) => ({ webhooks: [{ url: `${url}/hook?x=1`, secret }] });

  test("is notified, signed, of each alert in order", async () => {
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
          ...{ latency: 90, depth: 3, depthIsLowerBound: false, overtaken: 1, inOrderLatency: 4 },
          accuracy: "EXACT",
          throughput: { enqueuedPerSecond: 0.01667, dequeuedPerSecond: 0.6667, isLowerBound: false },
          measuredAt: new Date(nowMs).toISOString(),
          oldestSince: new Date(nowMs - 90_000).toISOString(),
          health: [{ health: "SLOW", since: new Date(nowMs - 1).toISOString() }],
        },
      },
    });
    expect(() => verified({ ...first!, body: first!.body.replace("FIRING", "firing") })).toThrow();
    await expect.poll(counts).toEqual({ webhook: { waiting: 0, delivered: 3, failed: 0, dropped: 0 } });
  });

  test.each([
    { how: "is overloaded", answer: 429 },
    { how: "does not work", answer: 503 },
    { how: "sends elsewhere, which is not followed", answer: 302 },
  ])(
    "that $how is notified again, with the same id and a new signature, until it has it",
    async ({ answer }) => {
      const receiver = await startReceiver();
      receiver.answer = () => (receiver.received.length < 4 ? answer : 204);
      const { write, empty, counts, logger } = await open(hook(receiver));
      await write(firing("a"));
      await empty();
      expect(receiver.received).toHaveLength(4);
      expect(new Set(receiver.received.map(idOf)).size).toBe(1);
      for (const request of receiver.received) verified(request);
      await expect.poll(counts).toEqual({ webhook: { waiting: 0, delivered: 1, failed: 3, dropped: 0 } });
      await expect
        .poll(() => logger.lines.map(({ level }) => level))
        .toEqual(["warn", "debug", "debug", "info"]);
      expect(JSON.stringify(logger.lines)).not.toMatch(/whsec|hook\?x/);
    },
  );

  test("gets the end of an alert after its beginning, however often that has to be sent", async () => {
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

  test("that refuses a notification eight times does not get it any more, and the others are not held up", async () => {
    const receiver = await startReceiver();
    receiver.answer = ({ body }) => (body.includes('"bad"') ? 400 : 200);
    const { write, empty, counts, logger } = await open(hook(receiver));
    await write(firing("bad"), firing("good"));
    await empty();
    await expect.poll(counts).toEqual({ webhook: { waiting: 0, delivered: 1, failed: 8, dropped: 1 } });
    expect(logger.lines.filter(({ level }) => level === "error")).toMatchObject([
      { message: "gave up a notification", fields: { reason: expect.stringContaining("400: so it is") } },
    ]);
  });

  test("is not sent what is older than a day by Redis's clock, whatever this machine's says", async () => {
    const receiver = await startReceiver();
    const { store, redis, keys, start, notifiers, write, empty, counts } = await open(hook(receiver));
    await notifiers.stop();
    await write(firing("old"), firing("new"));
    const [old, young] = await redis.xrange(keys.alerts.outbox(0), "-", "+");
    const agedMs = Number.parseInt(old![0], 10) - 86_400_001;
    await redis.del(keys.alerts.outbox(0));
    await redis.xadd(keys.alerts.outbox(0), `${agedMs}-0`, ...old![1]);
    await redis.xadd(keys.alerts.outbox(0), young![0], ...young![1]);
    const wrong = vi.spyOn(wallClock, "epochMs").mockReturnValue(nowMs + 90 * 86_400_000);
    onTestFinished(() => wrong.mockRestore());
    await store.begin(1, null);
    await start();
    await empty();
    expect(receiver.received.map(({ body }) => JSON.parse(body).data.queue)).toEqual(["new"]);
    await expect.poll(counts).toEqual({ webhook: { waiting: 0, delivered: 1, failed: 0, dropped: 1 } });
  });

  test("gets what another process has left in the outbox", async () => {
    const receiver = await startReceiver();
    const first = await open(hook(receiver));
    receiver.answer = () => "nothing";
    await first.write(firing("a"));
    await expect.poll(() => receiver.received.length).toBe(1);
    await first.notifiers.stop();
    receiver.answer = () => 200;
    await first.start();
    await first.empty();
    expect(receiver.received).toHaveLength(2);
    expect(idOf(receiver.received[0]!)).toBe(idOf(receiver.received[1]!));
  });
});

describe("an Alertmanager", () => {
  const last = ({ received }: HttpReceiver) => JSON.parse(received.at(-1)?.body ?? "[]");

  test("gets what fires and what has ended, by POST to its API v2, with the credentials of its URL", async () => {
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

  test("is notified again and again while something fires, and nothing when nothing does", async () => {
    const receiver = await startReceiver();
    const { write } = await open({ alertmanagers: [receiver.url] }, { resendMs: 5 });
    await write();
    const a = firing("a");
    expect(receiver.received).toEqual([]);
    await write(a);
    await expect.poll(() => receiver.received.length).toBeGreaterThan(3);
  });

  test("does not get the end of an alert that fires again", async () => {
    const receiver = await startReceiver();
    const { write } = await open({ alertmanagers: [receiver.url] });
    const a = firing("a");
    await write(a);
    await write(resolved(a));
    // Its value distinguishes this one from what was posted before.
    await write({ ...a, id: "another", value: 120 });
    await expect.poll(() => last(receiver)).toMatchObject([{ annotations: { value: "120" } }]);
    expect(Date.parse(last(receiver)[0].endsAt)).toBeGreaterThan(Date.now());
  });

  test("that refuses one request is sent the next one", async () => {
    const receiver = await startReceiver();
    receiver.answer = ({ body }) => (body.includes('"q0"') ? 400 : 200);
    const { write } = await open({ alertmanagers: [receiver.url] }, { retryMs: 3_600_000 });
    await write(...Array.from({ length: 501 }, (_, n) => firing(`q${n}`)));
    await expect.poll(() => receiver.received.map(({ body }) => JSON.parse(body).length)).toEqual([500, 1]);
  });

  test("that is dead, slow or refuses holds up no other", async () => {
    const [slow, wrong, good] = [await startReceiver(), await startReceiver(), await startReceiver()];
    slow.answer = () => "nothing";
    wrong.answer = () => 400;
    const dead = "http://127.0.0.1:1";
    const { write, empty, counts } = await open({
      alertmanagers: [dead, slow.url, wrong.url, good.url],
      webhooks: [{ url: good.url, secret }],
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

describe("several webhooks", () => {
  const hooks = (...receivers: readonly HttpReceiver[]) => ({
    webhooks: receivers.map(({ url }) => ({ url, secret })),
  });

  test("have an outbox each: one that refuses, hangs or is dead delays none of the others", async () => {
    const [wrong, slow, good] = [await startReceiver(), await startReceiver(), await startReceiver()];
    wrong.answer = () => 400;
    slow.answer = () => "nothing";
    const { write, counts } = await open({
      webhooks: [wrong.url, slow.url, "http://127.0.0.1:1", good.url].map((url) => ({ url, secret })),
    });
    await write(firing("a"), firing("b"));
    await expect.poll(() => good.received.length).toBe(2);
    await expect.poll(counts).toMatchObject({
      webhook: { dropped: 2, failed: 16, delivered: 0, waiting: 0 },
      "webhook 2": { dropped: 0, failed: 0, delivered: 0, waiting: 2 },
      "webhook 3": { dropped: 0, delivered: 0, waiting: 2 },
      "webhook 4": { dropped: 0, failed: 0, delivered: 2, waiting: 0 },
    });
  });

  test("the first one is sent what an earlier version has left in its outbox", async () => {
    const [first, second] = [await startReceiver(), await startReceiver()];
    const { notifiers, start, redis, keys, empty } = await open(hooks(first, second));
    await notifiers.stop();
    // As version 1 wrote it.
    const body = JSON.stringify({
      ...{ type: "alert.firing", timestamp: "2026-11-01T00:00:00.000Z" },
      data: { id: "abc_-9", rule: "Late", queue: "mail", state: "FIRING" },
    });
    await redis.xadd(keys.alerts.outbox(0), "*", "alert", "abc_-9", "body", body);
    await start();
    await empty();
    expect(first.received).toMatchObject([{ body, headers: { "webhook-id": "abc_-9-firing" } }]);
    expect(second.received).toEqual([]);
  });

  test("what is in an outbox and is not a notification is dropped, and delays nothing", async () => {
    const receiver = await startReceiver();
    const { notifiers, start, redis, keys, write, empty, counts, logger } = await open(hooks(receiver));
    await notifiers.stop();
    for (const fields of [
      ["alert", "x", "body", "{"],
      ["alert", "x", "body", "{}"],
      ["x", "y"],
    ]) {
      await redis.xadd(keys.alerts.outbox(0), "*", ...fields);
    }
    await write(firing("a"));
    await start();
    await empty();
    await expect.poll(counts).toEqual({ webhook: { waiting: 0, delivered: 1, failed: 0, dropped: 3 } });
    expect(logger.lines.filter(({ level }) => level === "error")).toHaveLength(3);
  });
});

describe("a webhook that fails for some notifications", () => {
  const hook = ({ url }: HttpReceiver) => ({ webhooks: [{ url, secret }] });
  const queueOf = ({ body }: ReceivedRequest): string => JSON.parse(body).data.queue;
  const named = (name: string) =>
    parseAlertRules(`rules: [{ name: ${name}, queues: "*", latency_above: 60 }]`)[0] as typeof rule;
  const firingOf = (name: string, queue: string) =>
    fired(createAlert(named(name), queue, 61, nowMs), named(name), { value: 90, facts: null, nowMs });

  test.each([
    { answer: 400, why: "refuses them" },
    { answer: 500, why: "breaks at them" },
    { answer: 429, why: "is overloaded by them" },
    { answer: "nothing", why: "does not answer to them" },
  ] as const)("and $why, gets another one at once, whatever the others wait for", async ({ answer }) => {
    const receiver = await startReceiver();
    receiver.answer = ({ body }) => (body.includes('"Bad"') ? answer : 200);
    // No retry within this test: what is delivered now has not waited for any.
    const { write, counts } = await open(hook(receiver), { retryMs: 3_600_000 });
    await write(...Array.from({ length: 100 }, (_, n) => firingOf("Bad", `q${n}`)));
    await expect.poll(() => receiver.received.length).toBeGreaterThanOrEqual(answer === "nothing" ? 5 : 100);
    await write(firingOf("Good", "mail"));
    await expect.poll(() => receiver.received.map(queueOf)).toContain("mail");
    await expect.poll(counts).toMatchObject({ webhook: { delivered: 1, waiting: 100 } });
  });

  test("delivers or gives up each by itself, in the order of its alert, whatever the receiver does", async () => {
    const attempts = new Map<string, number>();
    const behaviours = ["ok", "refused", "refused twice", "broken twice", "cut twice", "slow twice"] as const;
    type Behaviour = (typeof behaviours)[number];
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ firing: fc.constantFrom(...behaviours), ends: fc.boolean() }), {
          ...{ minLength: 1, maxLength: 30 },
        }),
        async (alerts) => {
          attempts.clear();
          const receiver = await startReceiver();
          const behaviourOf = (request: ReceivedRequest): Behaviour =>
            JSON.parse(request.body).type === "alert.firing"
              ? (alerts[Number(queueOf(request))]?.firing ?? "ok")
              : "ok";
          const delivered: string[] = [];
          receiver.answer = (request) => {
            const id = idOf(request);
            const attempt = (attempts.get(id) ?? 0) + 1;
            attempts.set(id, attempt);
            const [what, twice] = behaviourOf(request).split(" ");
            const isGood = what === "ok" || (twice !== undefined && attempt > 2);
            if (isGood) delivered.push(id);
            if (isGood) return 200;
            return (
              ({ refused: 422, broken: 503, cut: "cut", slow: "nothing" } as const)[what as "cut"] ?? 200
            );
          };
          const { write, empty, counts } = await open(hook(receiver), { retryMs: 1, timeoutMs: 50 });
          const all = alerts.map((_, n) => firingOf(`R${n % 3}`, `${n}`));
          await write(...all);
          await write(...all.filter((_, n) => alerts[n]!.ends).map(resolved));
          await empty();
          const expected = all.flatMap(({ id }, n) => [
            ...(alerts[n]!.firing === "refused" ? [] : [`${id}-firing`]),
            ...(alerts[n]!.ends ? [`${id}-resolved`] : []),
          ]);
          expect(new Set(delivered)).toEqual(new Set(expected));
          for (const [n, { id }] of all.entries()) {
            const firstEnd = delivered.indexOf(`${id}-resolved`);
            const lastBegin = delivered.lastIndexOf(`${id}-firing`);
            if (firstEnd >= 0) expect(lastBegin).toBeLessThan(firstEnd);
            const tries = attempts.get(`${id}-firing`) ?? 0;
            // A try that timed out on a busy machine is not a refusal.
            if (alerts[n]!.firing === "refused") expect(tries).toBeGreaterThanOrEqual(maxRefusals);
          }
          const dropped = alerts.filter(({ firing: how }) => how === "refused").length;
          await expect.poll(async () => (await counts()).webhook).toMatchObject({ waiting: 0, dropped });
        },
      ),
      { numRuns: 15 },
    );
  });
});

describe("a receiver on a port that browsers do not ask", () => {
  test.each([4190, 6000, 6667, 10080])("is sent notifications all the same: %i", async (port) => {
    const receiver = await startReceiver(port).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "EADDRINUSE") return null;
      throw error;
    });
    if (receiver === null) return;
    const { write, empty } = await open({
      webhooks: [{ url: receiver.url, secret }],
      alertmanagers: [receiver.url],
    });
    await write(firing("a"));
    await empty();
    await expect
      .poll(() => receiver.received.map(({ path }) => path).sort())
      .toEqual(["/", "/api/v2/alerts"]);
  });
});

describe("a heartbeat", () => {
  test("beats while rules are evaluated, and only then, also when Redis's clock was set back", async () => {
    const receiver = await startReceiver();
    const { evaluator, counts } = await open({ heartbeat: `${receiver.url}/ping?key=1` }, { resendMs: 60 });
    let lastRound: Round | null = null;
    const asked = vi.spyOn(evaluator, "lastRound", "get").mockImplementation(() => lastRound);
    const isAskedAgain = async () => {
      asked.mockClear();
      await expect.poll(() => asked.mock.calls.length).toBeGreaterThan(3);
    };
    await isAskedAgain();
    expect(receiver.received).toEqual([]);
    lastRound = { atMs: nowMs, monotonicMs: 1_000 };
    await expect.poll(() => receiver.received).toMatchObject([{ method: "GET", path: "/ping?key=1" }]);
    lastRound = { atMs: nowMs - 3_600_000, monotonicMs: 1_059 };
    await isAskedAgain();
    expect(receiver.received).toHaveLength(1);
    lastRound = { atMs: nowMs - 3_600_000, monotonicMs: 1_060 };
    await expect.poll(() => receiver.received.length).toBe(2);
    await expect.poll(counts).toEqual({ heartbeat: { waiting: 0, delivered: 2, failed: 0, dropped: 0 } });
  });
});
