import { describe, expect, inject, test } from "vitest";
import { createAlert } from "../../src/alerts/make-alert.ts";
import { LeaseLostError } from "../../src/core/lease.ts";
import { parseAlertRules } from "../../src/settings/parse-alert-rules.ts";
import { openAlerts, startMs } from "../support/alerts.ts";

const late = "rules: [{ name: Late, queues: mail*, latency_above: 60, resolve_below: 20, for: 30s }]";
const late2 = `${late.slice(0, -1)}, { name: Deep, queues: mail, depth_above: 5 }]`;
const open = (yaml = late, options = {}) => openAlerts(inject("redisUrl"), yaml, options);
const minutes = (count: number) => ({ latencyMs: count * 60_000, oldestSinceMs: startMs - count * 60_000 });

describe("an alert", () => {
  test("is pending, fires once with its facts, and resolves below its lower threshold", async () => {
    const { queues, evaluate, round, pass, active, resolved, seen, store } = await open();
    const behind = { overtaken: 1, inOrderSinceMs: startMs - 5_000 };
    queues.set("mail", { ...minutes(2), ...behind, depth: 7, depthIsLowerBound: true }, "SLOW");
    queues.set("other", { ...minutes(9), depth: 7 });
    const evaluator = await evaluate(1);
    await round(evaluator);
    expect(await active()).toEqual(["mail Late PENDING"]);
    expect(await seen()).toEqual([]);
    pass(30_000);
    await round(evaluator);
    const [alert] = await store.active();
    expect(alert).toMatchObject({
      ...{ rule: "Late", queue: "mail", state: "FIRING", subject: "latency", value: 120, threshold: 60 },
      facts: {
        ...{
          latencyMs: 120_000,
          oldestSinceMs: startMs - 120_000,
          depth: 7,
          depthIsLowerBound: true,
          overtaken: 1,
          accuracy: "EXACT",
        },
        inOrderLatencyMs: expect.any(Number),
        throughput: { enqueuedPerSecond: 3, dequeuedPerSecond: 2 },
        health: [{ health: "SLOW" }],
      },
    });
    expect(alert!.firedAtMs! - alert!.sinceMs).toBeGreaterThanOrEqual(30_000);
    queues.set("mail", { latencyMs: 30_000 });
    await round(evaluator);
    expect(await active()).toEqual(["mail Late FIRING"]);
    queues.set("mail", { latencyMs: 19_000 });
    await round(evaluator);
    expect(await active()).toEqual([]);
    expect(await resolved()).toMatchObject([
      { id: alert!.id, state: "RESOLVED", end: "RECOVERED", value: 19 },
    ]);
    expect(await seen()).toEqual(["alert.firing mail Late", "alert.resolved mail Late"]);
    expect(queues.readOf.has("other")).toBe(false);
  });

  test("that fires again is another one", async () => {
    const { queues, evaluate, round, store, resolved, seen } = await open(late2.replace("mail*", "none"));
    const evaluator = await evaluate(1);
    for (const depth of [6, 0, 6]) {
      queues.set("mail", { depth });
      await round(evaluator);
    }
    expect((await store.active())[0]!.id).not.toBe((await resolved())[0]!.id);
    expect(await seen()).toEqual([
      "alert.firing mail Deep",
      "alert.resolved mail Deep",
      "alert.firing mail Deep",
    ]);
  });

  test("that fires at once has the health of that moment among its facts", async () => {
    const { queues, evaluate, round, store } = await open(late2.replace("mail*", "none"));
    const evaluator = await evaluate(1);
    const healths = async () => (await store.active())[0]?.facts?.health.map(({ health }) => health);
    queues.set("mail", { depth: 6 }, "SLOW");
    await round(evaluator);
    expect(await healths()).toEqual(["SLOW"]);
    queues.set("mail", { depth: 0 }, "OK");
    await round(evaluator);
    queues.set("mail", { depth: 6 }, "STALLED");
    await round(evaluator);
    expect(await healths()).toEqual(["SLOW", "STALLED"]);
  });

  test.each([
    { ms: 3_600_000, why: "set forward" },
    { ms: -3_600_000, why: "set back" },
  ])("is pending for as long as its rule says when Redis's clock is $why", async ({ ms }) => {
    const { queues, evaluate, round, pass, step, active } = await open();
    const evaluator = await evaluate(1);
    queues.set("mail", minutes(2));
    await round(evaluator);
    pass(15_000);
    step(ms);
    await round(evaluator);
    expect(await active()).toEqual(["mail Late PENDING"]);
    pass(15_000);
    await round(evaluator);
    expect(await active()).toEqual(["mail Late FIRING"]);
  });

  test("that another process began before Redis's clock was set back fires after its whole time", async () => {
    const { queues, evaluate, round, pass, step, active } = await open();
    const first = await evaluate(1);
    queues.set("mail", minutes(2));
    await round(first);
    await first.stop();
    step(-3_600_000);
    const second = await evaluate(2);
    await round(second);
    pass(30_000);
    await round(second);
    expect(await active()).toEqual(["mail Late FIRING"]);
  });

  test("that is over before it fires leaves no trace", async () => {
    const { queues, evaluate, round, active, resolved, seen } = await open();
    const evaluator = await evaluate(1);
    queues.set("mail", minutes(2));
    await round(evaluator);
    queues.set("mail", minutes(0));
    await round(evaluator);
    expect([await active(), await resolved(), await seen()]).toEqual([[], [], []]);
  });

  test("neither fires nor resolves on stale data, which is an alert of its own", async () => {
    const { queues, evaluate, round, pass, active, resolved } = await open();
    const evaluator = await evaluate(1);
    for (const queue of ["mail-1", "mail-2"]) queues.set(queue, minutes(2));
    await round(evaluator);
    queues.set("mail-2", { ...minutes(2), stale: true });
    pass(30_000);
    await round(evaluator);
    expect(await active()).toEqual([
      "mail-1 Late FIRING",
      "mail-2 Late PENDING",
      "mail-2 QueueUnknown PENDING",
    ]);
    queues.set("mail-1", { ...minutes(0), stale: true });
    queues.set("mail-2", { ...minutes(9), stale: true });
    pass(60_000);
    await round(evaluator);
    expect(await active()).toEqual([
      ...["mail-1 Late FIRING", "mail-1 QueueUnknown PENDING"],
      ...["mail-2 Late PENDING", "mail-2 QueueUnknown FIRING"],
    ]);
    expect(await resolved()).toEqual([]);
    queues.set("mail-1", minutes(0));
    queues.set("mail-2", minutes(9));
    await round(evaluator);
    expect(await active()).toEqual(["mail-2 Late FIRING"]);
  });

  test("of a queue that cannot be read stays, and holds up no other", async () => {
    const { queues, evaluate, round, pass, active } = await open();
    const evaluator = await evaluate(1);
    for (const queue of ["mail-1", "mail-2"]) queues.set(queue, minutes(2));
    await round(evaluator);
    queues.lose("mail-2");
    pass(30_000);
    await round(evaluator);
    expect(await active()).toEqual([
      "mail-1 Late FIRING",
      "mail-2 Late PENDING",
      "mail-2 QueueUnknown PENDING",
    ]);
  });

  test("is quiet while its queue is paused, and what fires goes on", async () => {
    const { queues, evaluate, round, pass, active, seen } = await open();
    const evaluator = await evaluate(1);
    queues.set("mail-1", minutes(2));
    await round(evaluator);
    pass(30_000);
    queues.set("mail-2", minutes(2));
    await round(evaluator);
    expect(await active()).toEqual(["mail-1 Late FIRING", "mail-2 Late PENDING"]);
    queues.set("mail-1", { ...minutes(0), state: "PAUSED" });
    queues.set("mail-2", { ...minutes(9), state: "PAUSED" });
    pass(60_000);
    await round(evaluator);
    expect(await active()).toEqual(["mail-1 Late FIRING"]);
    queues.set("mail-2", minutes(9));
    await round(evaluator);
    expect(await active()).toEqual(["mail-1 Late FIRING", "mail-2 Late PENDING"]);
    expect(await seen()).toEqual(["alert.firing mail-1 Late"]);
  });

  test("of a queue that is gone, or of a rule that is gone or means others now, resolves", async () => {
    const { queues, evaluate, round, active, resolved, rule } = await open(
      `rules:
        - { name: A, queues: mail*, depth_above: 1 }
        - { name: B, queues: mail*, depth_above: 1 }`,
    );
    const evaluator = await evaluate(1);
    for (const queue of ["mail-1", "mail-2"]) queues.set(queue, { depth: 2 });
    await round(evaluator);
    queues.forget("mail-1");
    rule("rules: [{ name: A, queues: [mail-1, mail-2], depth_above: 1 }]");
    await round(evaluator);
    expect(await active()).toEqual(["mail-2 A FIRING"]);
    rule("rules: [{ name: A, queues: other, depth_above: 1 }]");
    await round(evaluator);
    expect((await resolved()).map(({ queue, rule: name, end }) => `${queue} ${name} ${end}`).sort()).toEqual([
      ...["mail-1 A QUEUE_GONE", "mail-1 B RULE_GONE"],
      ...["mail-2 A RULE_GONE", "mail-2 B RULE_GONE"],
    ]);
  });

  test("ends when its rule is about something else by now, and its value would have the wrong unit", async () => {
    const { queues, evaluate, round, rule, store, resolved } = await open(
      "rules: [{ name: A, queues: mail, latency_above: 60 }]",
    );
    const evaluator = await evaluate(1);
    queues.set("mail", { ...minutes(2), depth: 7 });
    await round(evaluator);
    rule("rules: [{ name: A, queues: mail, depth_above: 5 }]");
    await round(evaluator);
    expect(await resolved()).toMatchObject([{ subject: "latency", end: "RULE_GONE", value: null }]);
    expect(await store.active()).toMatchObject([
      { state: "FIRING", subject: "depth", value: 7, threshold: 5 },
    ]);
  });

  test("follows health, for as long as that is known", async () => {
    const { queues, evaluate, round, active, store } = await open(
      "rules: [{ name: Ill, queues: q, health: [STALLED, SLOW] }]",
    );
    const evaluator = await evaluate(1);
    queues.set("q", {}, "FALLING_BEHIND");
    await round(evaluator);
    expect(await active()).toEqual([]);
    queues.set("q", {}, "STALLED");
    await round(evaluator);
    expect((await store.active())[0]!.facts!.health.map(({ health }) => health)).toEqual([
      "FALLING_BEHIND",
      "STALLED",
    ]);
    queues.set("q", {}, "UNKNOWN");
    await round(evaluator);
    expect(await active()).toEqual(["q Ill FIRING"]);
    queues.set("q", {}, "OK");
    await round(evaluator);
    expect(await active()).toEqual([]);
  });

  test("keeps who acknowledged it, when it fires and when it resolves", async () => {
    const { queues, evaluate, round, pass, store, resolved } = await open();
    const evaluator = await evaluate(1);
    queues.set("mail", minutes(2));
    await round(evaluator);
    const { id } = (await store.active())[0]!;
    expect(await store.acknowledge(id, "token:ops")).toMatchObject({ acknowledgement: { by: "token:ops" } });
    expect(await store.acknowledge(id, "token:late")).toMatchObject({ acknowledgement: { by: "token:ops" } });
    pass(30_000);
    await round(evaluator);
    expect(await store.active()).toMatchObject([{ state: "FIRING", acknowledgement: { by: "token:ops" } }]);
    queues.set("mail", minutes(0));
    await round(evaluator);
    expect(await resolved()).toMatchObject([{ id, acknowledgement: { by: "token:ops" } }]);
    expect(await store.acknowledge(id, "token:ops")).toBeNull();
  });
});

describe("when another process decides", () => {
  test("a PENDING alert keeps its beginning, and a FIRING one is not notified again", async () => {
    const { queues, evaluate, round, pass, active, seen } = await open();
    const first = await evaluate(1);
    queues.set("mail-1", minutes(2));
    await round(first);
    pass(20_000);
    queues.set("mail-2", minutes(2));
    await round(first);
    await first.stop();
    pass(10_000);
    const second = await evaluate(2);
    await round(second);
    expect(await active()).toEqual(["mail-1 Late FIRING", "mail-2 Late PENDING"]);
    await second.stop();
    pass(20_000);
    await round(await evaluate(3));
    expect(await seen()).toEqual(["alert.firing mail-1 Late", "alert.firing mail-2 Late"]);
  });

  test("a former leader writes nothing any more, even when it does not know that it lost the lease", async () => {
    const { queues, evaluate, round, pass, seen, store } = await open();
    const first = await evaluate(1);
    queues.set("mail", minutes(2));
    await round(first);
    const [alert] = await store.active();
    await round(await evaluate(2));
    const change = { what: "resolve", alert: alert!, notification: {} } as const;
    await expect(store.write(1, [change])).rejects.toThrow(LeaseLostError);
    await expect(store.begin(1, null)).rejects.toThrow(LeaseLostError);
    expect(await store.active()).toEqual([alert]);
    // The first goes on all the while.
    pass(30_000);
    await expect.poll(seen).toEqual(["alert.firing mail Late"]);
  });

  test("one whose fencing token is too small while it holds the lease asks for a larger one", async () => {
    const { evaluate, round, store, superseded } = await open();
    await store.begin(77, null);
    await evaluate(2);
    await expect.poll(() => superseded).toContain(77);
    await round(await evaluate(78));
  });

  test("an answer that was lost is no second firing", async () => {
    const { queues, evaluate, round, seen, store, active } = await open(late2.replace("mail*", "none"));
    const write = store.write;
    let isLost = false;
    Object.assign(store, {
      async write(...args: Parameters<typeof write>) {
        await write(...args);
        if (isLost) return;
        isLost = true;
        throw new Error("the answer was lost");
      },
    });
    queues.set("mail", { depth: 6 });
    const evaluator = await evaluate(1);
    await round(evaluator);
    expect(isLost).toBe(true);
    expect(await active()).toEqual(["mail Deep FIRING"]);
    expect(await seen()).toEqual(["alert.firing mail Deep"]);
  });
});

const dropping = "null AlertsDropped FIRING";

test("alerts that Redis has evicted are stored again by the next round, and receivers are not notified again", async () => {
  const { redis, keys, store, queues, evaluate, round, active, seen } = await open(late2);
  queues.set("mail", { ...minutes(2), depth: 6 });
  const evaluator = await evaluate(1);
  await round(evaluator);
  const before = await store.active();
  expect(await active()).toEqual(["mail Deep FIRING", "mail Late PENDING"]);
  await redis.del(keys.alerts.active);
  await round(evaluator);
  expect(await store.active()).toEqual(expect.arrayContaining(before));
  expect(await seen()).toEqual(["alert.firing mail Deep"]);
});

test("a queue whose state Redis has lost resolves nothing while it is listed, and one that is forgotten does", async () => {
  const { queues, evaluate, round, active, resolved } = await open(late2.replace("mail*", "none"));
  queues.set("mail", { depth: 6 });
  const evaluator = await evaluate(1);
  await round(evaluator);
  queues.set("mail", { state: "MISSING", source: null, accuracy: "UNKNOWN", latencyMs: null });
  await round(evaluator);
  expect(await active()).toEqual(["mail Deep FIRING"]);
  queues.forget("mail");
  await round(evaluator);
  expect(await resolved()).toMatchObject([{ queue: "mail", end: "QUEUE_GONE" }]);
});

describe("what is kept is bounded", () => {
  test("by no more alerts than may be there, of which the others are counted", async () => {
    const { queues, evaluate, round, active, resolved, store } = await open(
      late2.replace("mail*", "none").replace("mail,", "'*',"),
    );
    for (const queue of ["a", "b", "c"]) queues.set(queue, { depth: 6 });
    const evaluator = await evaluate(1, { maxActive: 2 });
    await round(evaluator);
    expect(await active()).toEqual(["a Deep FIRING", "b Deep FIRING", dropping]);
    expect((await store.active()).find(({ rule }) => rule === "AlertsDropped")).toMatchObject({
      ...{ queue: null, subject: "dropped_alerts", value: 1, threshold: null, facts: null },
    });
    expect(await store.status()).toMatchObject({ ignored: 1 });
    queues.set("a", { depth: 0 });
    await round(evaluator);
    // Full, but nothing is dropped any more.
    expect(await active()).toEqual(["b Deep FIRING", "c Deep FIRING", dropping]);
    queues.set("b", { depth: 0 });
    await round(evaluator);
    expect(await active()).toEqual(["c Deep FIRING"]);
    expect(await resolved()).toMatchObject([{ rule: "AlertsDropped" }, { queue: "b" }, { queue: "a" }]);
    expect(await store.status()).toMatchObject({ ignored: 1 });
  });

  const late30 = "{ name: Late, queues: '*', depth_above: 5, for: 30s }";
  const atOnce = "{ name: Deep, queues: '*', depth_above: 5 }";
  const names = (...all: readonly string[]) => all;
  test.each([
    {
      ...{ rule: late30, before: names("!1", "!2"), last: "mail", knownFirst: true },
      ...{
        active: ["!1 Late PENDING", "mail Late PENDING"],
        why: "a queue that is older displaces a PENDING one",
      },
    },
    {
      ...{ rule: late30, before: names("!1", "!2"), last: "mail", knownFirst: false },
      ...{ active: ["!1 Late PENDING", "!2 Late PENDING"], why: "a younger one does not" },
    },
    {
      ...{ rule: atOnce, before: names("!1", "!2"), last: "mail", knownFirst: true },
      ...{
        active: ["!1 Deep FIRING", "mail Deep FIRING"],
        why: "an older queue also displaces one that fires",
      },
    },
    {
      ...{ rule: atOnce, before: names("!1", "!2"), last: "mail", knownFirst: false },
      ...{ active: ["!1 Deep FIRING", "!2 Deep FIRING"], why: "a younger one does not" },
    },
    {
      ...{ rule: `${late30}, { name: Now, queues: mail, depth_above: 5 }`, before: names("!1", "!2") },
      ...{ last: "mail", knownFirst: true, active: ["mail Late PENDING", "mail Now FIRING"] },
      why: "each of its alerts has a place",
    },
  ])("of which $why", async ({ rule, before, last, knownFirst, active: expected }) => {
    const { queues, evaluate, round, active, resolved, seen } = await open(`rules: [${rule}]`);
    if (knownFirst) queues.set(last, { depth: 0 });
    const evaluator = await evaluate(1, { maxActive: 2 });
    await round(evaluator);
    for (const queue of before) queues.set(queue, { depth: 6 });
    await round(evaluator);
    queues.set(last, { depth: 6 });
    await round(evaluator);
    expect(await active()).toEqual([...expected, dropping].sort());
    // Nothing takes turns.
    const seenBefore = await seen();
    await round(evaluator);
    expect(await active()).toEqual([...expected, dropping].sort());
    expect(await seen()).toEqual(seenBefore);
    const displaced = (await resolved()).map(({ queue, end }) => `${queue} ${end}`);
    const fired = rule === atOnce && knownFirst;
    expect(displaced).toEqual(fired ? ["!2 DISPLACED"] : []);
  });

  test("also after another process has taken over", async () => {
    const { queues, evaluate, round, active } = await open(`rules: [${atOnce}]`);
    queues.set("mail", { depth: 0 });
    for (const queue of ["!1", "!2"]) queues.set(queue, { depth: 6 });
    const first = await evaluate(1, { maxActive: 2 });
    await round(first);
    await first.stop();
    const second = await evaluate(2, { maxActive: 2 });
    await round(second);
    queues.set("mail", { depth: 6 });
    await round(second);
    expect(await active()).toContain("mail Deep FIRING");
  });

  test("by the newest notifications of an outbox that is not read, of which the dropped are counted", async () => {
    const { queues, evaluate, round, seen, store } = await open(late2.replace("mail*", "none"), {
      maxNotifications: 2,
    });
    const evaluator = await evaluate(1);
    for (const depth of [6, 0, 6, 0, 6]) {
      queues.set("mail", { depth });
      await round(evaluator);
    }
    expect(await seen()).toEqual(["alert.resolved mail Deep", "alert.firing mail Deep"]);
    expect((await store.status()).receivers).toMatchObject([{ receiver: "webhook", dropped: 3 }]);
  });

  test("by no outbox where there is no webhook", async () => {
    const { queues, evaluate, round, seen, store } = await open(late2.replace("mail*", "none"), {
      webhooks: [],
    });
    queues.set("mail", { depth: 6 });
    await round(await evaluate(1));
    expect(await seen()).toEqual([]);
    expect((await store.status()).receivers).toEqual([]);
  });

  test("by a week without an evaluation", async () => {
    const { queues, evaluate, round, redis, keys } = await open(late2.replace("mail*", "none"));
    queues.set("mail", { depth: 6 });
    await round(await evaluate(1));
    const { active, outbox, state } = keys.alerts;
    for (const key of [active, outbox(0), state])
      expect(await redis.pttl(key), key).toBeGreaterThan(6.9 * 86_400_000);
  });
});

describe("a record in Redis that is not an alert", () => {
  const good = async () => {
    const opened = await open(late2.replace("mail*", "none"));
    opened.queues.set("mail", { depth: 6 });
    const evaluator = await opened.evaluate(1);
    await opened.round(evaluator);
    return { ...opened, evaluator };
  };
  const stored = (rest: object) => {
    const alert = { ...createAlert(parseAlertRules(late)[0]!, "x", 1, startMs), id: "x", ...rest };
    return `\n${JSON.stringify(alert)}`;
  };

  test.each([
    { record: "", why: "nothing" },
    { record: "garbage", why: "no lines" },
    { record: "\ngarbage", why: "no JSON" },
    { record: "\nnull", why: "nothing as JSON" },
    { record: "\n{}", why: "no fields" },
    { record: stored({ id: "y" }), why: "the record of another alert" },
    { record: stored({ state: "LATE" }), why: "no such state" },
    { record: stored({ sinceMs: 1e300 }), why: "no date" },
    { record: stored({ labels: [1] }), why: "labels that are not texts" },
    { record: stored({ facts: { depth: 1.5 } }), why: "half of a job" },
    { record: `garbage${stored({})}`, why: "acknowledged by garbage" },
  ])("is skipped, counted and logged once: $why", async ({ record }) => {
    const { redis, keys, store, logger, active, evaluator, round, queues, resolved } = await good();
    await redis.hset(keys.alerts.active, "x", record);
    await redis.lpush(keys.alerts.resolved, record === stored({ id: "y" }) ? "" : record);
    for (let i = 0; i < 2; i++) {
      expect(await active()).toEqual(["mail Deep FIRING"]);
      expect(await resolved()).toEqual([]);
      expect(await store.status()).toMatchObject({ unreadable: 2 });
    }
    const errors = () => logger.lines.filter(({ level }) => level === "error");
    expect(errors()).toMatchObject([{ fields: { record: "x" } }, { fields: { key: keys.alerts.resolved } }]);
    expect(await store.acknowledge("x", "me")).toBeNull();
    queues.set("mail", { depth: 0 });
    await round(evaluator);
    expect(await active()).toEqual([]);
  });

  test("is replaced when its alert is written again, and an unreadable acknowledgement with it", async () => {
    const { redis, keys, store, evaluator, round, queues } = await good();
    const [alert] = await store.active();
    await redis.hset(keys.alerts.active, alert!.id, `garbage\n{}`);
    expect(await store.active()).toEqual([]);
    queues.set("mail", { depth: 0 });
    await round(evaluator);
    expect(await store.resolved(1)).toMatchObject([{ id: alert!.id, acknowledgement: null }]);
  });

  test.each(["state", "active", "resolved", "outbox"] as const)(
    "%s of another type answers, is set aside, and alerts go on",
    async (name) => {
      const { redis, keys, store, logger, queues, evaluate, round, active, seen } = await open(
        late2.replace("mail*", "none"),
      );
      const key = name === "outbox" ? keys.alerts.outbox(0) : keys.alerts[name];
      await redis.set(key, "garbage");
      expect(await active()).toEqual([]);
      expect(await store.resolved(1)).toEqual([]);
      expect(await store.status()).toMatchObject({ outbox: 0, decidedAtMs: null });
      queues.set("mail", { depth: 6 });
      await round(await evaluate(1));
      expect(await active()).toEqual(["mail Deep FIRING"]);
      expect(await seen()).toEqual(["alert.firing mail Deep"]);
      expect(await redis.get(`${key}:set-aside`)).toBe("garbage");
      expect(logger.lines).toContainEqual({
        level: "error",
        fields: { key, renamedTo: `${key}:set-aside` },
        message: "a key of another type was set aside",
      });
    },
  );
});
