import { describe, expect, inject, test } from "vitest";
import { LeaseLostError } from "../../src/core/lease.ts";
import { openAlerts, startMs } from "../support/alerts.ts";

const late = "rules: [{ name: Late, queues: mail*, latency_above: 60, resolve_below: 20, for: 30s }]";
const late2 = `${late.slice(0, -1)}, { name: Deep, queues: mail, depth_above: 5 }]`;
const open = (yaml = late, options = {}) => openAlerts(inject("redisUrl"), yaml, options);
const minutes = (count: number) => ({ latencyMs: count * 60_000, oldestSinceMs: startMs - count * 60_000 });

describe("an alert", () => {
  test("is pending, fires once with its facts, and resolves below its lower threshold", async () => {
    const { sights, decide, round, pass, active, resolved, told, store } = await open();
    sights.set("mail", { ...minutes(2), depth: 7 }, "SLOW");
    sights.set("other", { ...minutes(9), depth: 7 });
    const decider = await decide(1);
    await round(decider);
    expect(await active()).toEqual(["mail Late PENDING"]);
    expect(await told()).toEqual([]);
    pass(30_000);
    await round(decider);
    const [alert] = await store.active();
    expect(alert).toMatchObject({
      ...{ rule: "Late", queue: "mail", state: "FIRING", subject: "latency", value: 120, threshold: 60 },
      facts: {
        ...{ latencyMs: 120_000, oldestSinceMs: startMs - 120_000, depth: 7, accuracy: "EXACT" },
        throughput: { enqueuedPerSecond: 3, dequeuedPerSecond: 2 },
        health: [{ health: "SLOW" }],
      },
    });
    expect(alert!.firedAtMs! - alert!.sinceMs).toBeGreaterThanOrEqual(30_000);
    sights.set("mail", { latencyMs: 30_000 });
    await round(decider);
    expect(await active()).toEqual(["mail Late FIRING"]);
    sights.set("mail", { latencyMs: 19_000 });
    await round(decider);
    expect(await active()).toEqual([]);
    expect(await resolved()).toMatchObject([
      { id: alert!.id, state: "RESOLVED", end: "RECOVERED", value: 19 },
    ]);
    expect(await told()).toEqual(["alert.firing mail Late", "alert.resolved mail Late"]);
    expect(sights.readOf.has("other")).toBe(false);
  });

  test("that fires again is another one", async () => {
    const { sights, decide, round, store, resolved, told } = await open(late2.replace("mail*", "none"));
    const decider = await decide(1);
    for (const depth of [6, 0, 6]) {
      sights.set("mail", { depth });
      await round(decider);
    }
    expect((await store.active())[0]!.id).not.toBe((await resolved())[0]!.id);
    expect(await told()).toEqual([
      "alert.firing mail Deep",
      "alert.resolved mail Deep",
      "alert.firing mail Deep",
    ]);
  });

  test("that fires at once has the health of that moment among its facts", async () => {
    const { sights, decide, round, store } = await open(late2.replace("mail*", "none"));
    const decider = await decide(1);
    const healths = async () => (await store.active())[0]?.facts?.health.map(({ health }) => health);
    sights.set("mail", { depth: 6 }, "SLOW");
    await round(decider);
    expect(await healths()).toEqual(["SLOW"]);
    sights.set("mail", { depth: 0 }, "OK");
    await round(decider);
    sights.set("mail", { depth: 6 }, "STALLED");
    await round(decider);
    expect(await healths()).toEqual(["SLOW", "STALLED"]);
  });

  test("that is over before it fires leaves no trace", async () => {
    const { sights, decide, round, active, resolved, told } = await open();
    const decider = await decide(1);
    sights.set("mail", minutes(2));
    await round(decider);
    sights.set("mail", minutes(0));
    await round(decider);
    expect([await active(), await resolved(), await told()]).toEqual([[], [], []]);
  });

  test("neither fires nor resolves on stale data, which is an alert of its own", async () => {
    const { sights, decide, round, pass, active, resolved } = await open();
    const decider = await decide(1);
    for (const queue of ["mail-1", "mail-2"]) sights.set(queue, minutes(2));
    await round(decider);
    sights.set("mail-2", { ...minutes(2), stale: true });
    pass(30_000);
    await round(decider);
    expect(await active()).toEqual([
      "mail-1 Late FIRING",
      "mail-2 Late PENDING",
      "mail-2 QueueUnknown PENDING",
    ]);
    sights.set("mail-1", { ...minutes(0), stale: true });
    sights.set("mail-2", { ...minutes(9), stale: true });
    pass(60_000);
    await round(decider);
    expect(await active()).toEqual([
      ...["mail-1 Late FIRING", "mail-1 QueueUnknown PENDING"],
      ...["mail-2 Late PENDING", "mail-2 QueueUnknown FIRING"],
    ]);
    expect(await resolved()).toEqual([]);
    sights.set("mail-1", minutes(0));
    sights.set("mail-2", minutes(9));
    await round(decider);
    expect(await active()).toEqual(["mail-2 Late FIRING"]);
  });

  test("of a queue that cannot be read stays, and holds up no other", async () => {
    const { sights, decide, round, pass, active } = await open();
    const decider = await decide(1);
    for (const queue of ["mail-1", "mail-2"]) sights.set(queue, minutes(2));
    await round(decider);
    sights.lose("mail-2");
    pass(30_000);
    await round(decider);
    expect(await active()).toEqual([
      "mail-1 Late FIRING",
      "mail-2 Late PENDING",
      "mail-2 QueueUnknown PENDING",
    ]);
  });

  test("is quiet while its queue is paused, and what fires goes on", async () => {
    const { sights, decide, round, pass, active, told } = await open();
    const decider = await decide(1);
    sights.set("mail-1", minutes(2));
    await round(decider);
    pass(30_000);
    sights.set("mail-2", minutes(2));
    await round(decider);
    expect(await active()).toEqual(["mail-1 Late FIRING", "mail-2 Late PENDING"]);
    sights.set("mail-1", { ...minutes(0), state: "PAUSED" });
    sights.set("mail-2", { ...minutes(9), state: "PAUSED" });
    pass(60_000);
    await round(decider);
    expect(await active()).toEqual(["mail-1 Late FIRING"]);
    sights.set("mail-2", minutes(9));
    await round(decider);
    expect(await active()).toEqual(["mail-1 Late FIRING", "mail-2 Late PENDING"]);
    expect(await told()).toEqual(["alert.firing mail-1 Late"]);
  });

  test("of a queue that is gone, or of a rule that is gone or means others now, resolves", async () => {
    const { sights, decide, round, active, resolved, rule } = await open(
      `rules:
        - { name: A, queues: mail*, depth_above: 1 }
        - { name: B, queues: mail*, depth_above: 1 }`,
    );
    const decider = await decide(1);
    for (const queue of ["mail-1", "mail-2"]) sights.set(queue, { depth: 2 });
    await round(decider);
    sights.forget("mail-1");
    rule("rules: [{ name: A, queues: [mail-1, mail-2], depth_above: 1 }]");
    await round(decider);
    expect(await active()).toEqual(["mail-2 A FIRING"]);
    rule("rules: [{ name: A, queues: other, depth_above: 1 }]");
    await round(decider);
    expect((await resolved()).map(({ queue, rule: name, end }) => `${queue} ${name} ${end}`).sort()).toEqual([
      ...["mail-1 A QUEUE_GONE", "mail-1 B RULE_GONE"],
      ...["mail-2 A RULE_GONE", "mail-2 B RULE_GONE"],
    ]);
  });

  test("ends when its rule is about something else by now, and its value would be told in the wrong unit", async () => {
    const { sights, decide, round, rule, store, resolved } = await open(
      "rules: [{ name: A, queues: mail, latency_above: 60 }]",
    );
    const decider = await decide(1);
    sights.set("mail", { ...minutes(2), depth: 7 });
    await round(decider);
    rule("rules: [{ name: A, queues: mail, depth_above: 5 }]");
    await round(decider);
    expect(await resolved()).toMatchObject([{ subject: "latency", end: "RULE_GONE", value: null }]);
    expect(await store.active()).toMatchObject([
      { state: "FIRING", subject: "depth", value: 7, threshold: 5 },
    ]);
  });

  test("is told by health, for as long as anybody can tell it", async () => {
    const { sights, decide, round, active, store } = await open(
      "rules: [{ name: Ill, queues: q, health: [STALLED, SLOW] }]",
    );
    const decider = await decide(1);
    sights.set("q", {}, "FALLING_BEHIND");
    await round(decider);
    expect(await active()).toEqual([]);
    sights.set("q", {}, "STALLED");
    await round(decider);
    expect((await store.active())[0]!.facts!.health.map(({ health }) => health)).toEqual([
      "FALLING_BEHIND",
      "STALLED",
    ]);
    sights.set("q", {}, "UNKNOWN");
    await round(decider);
    expect(await active()).toEqual(["q Ill FIRING"]);
    sights.set("q", {}, "OK");
    await round(decider);
    expect(await active()).toEqual([]);
  });

  test("keeps who acknowledged it, when it fires and when it resolves", async () => {
    const { sights, decide, round, pass, store, resolved } = await open();
    const decider = await decide(1);
    sights.set("mail", minutes(2));
    await round(decider);
    const { id } = (await store.active())[0]!;
    expect(await store.acknowledge(id, "token:ops")).toMatchObject({ acknowledgement: { by: "token:ops" } });
    expect(await store.acknowledge(id, "token:late")).toMatchObject({ acknowledgement: { by: "token:ops" } });
    pass(30_000);
    await round(decider);
    expect(await store.active()).toMatchObject([{ state: "FIRING", acknowledgement: { by: "token:ops" } }]);
    sights.set("mail", minutes(0));
    await round(decider);
    expect(await resolved()).toMatchObject([{ id, acknowledgement: { by: "token:ops" } }]);
    expect(await store.acknowledge(id, "token:ops")).toBeNull();
  });
});

describe("when another process decides", () => {
  test("what is pending goes on from when it began, and what fires is not told again", async () => {
    const { sights, decide, round, pass, active, told } = await open();
    const first = await decide(1);
    sights.set("mail-1", minutes(2));
    await round(first);
    pass(20_000);
    sights.set("mail-2", minutes(2));
    await round(first);
    await first.stop();
    pass(10_000);
    const second = await decide(2);
    await round(second);
    expect(await active()).toEqual(["mail-1 Late FIRING", "mail-2 Late PENDING"]);
    await second.stop();
    pass(20_000);
    await round(await decide(3));
    expect(await told()).toEqual(["alert.firing mail-1 Late", "alert.firing mail-2 Late"]);
  });

  test("one that was before it writes nothing any more, be it that it still believes in its turn", async () => {
    const { sights, decide, round, pass, told, store } = await open();
    const first = await decide(1);
    sights.set("mail", minutes(2));
    await round(first);
    const [alert] = await store.active();
    await round(await decide(2));
    const change = { what: "resolve", alert: alert!, word: {} } as const;
    await expect(store.write(1, [change])).rejects.toThrow(LeaseLostError);
    await expect(store.begin(1, null)).rejects.toThrow(LeaseLostError);
    expect(await store.active()).toEqual([alert]);
    // The first goes on all the while.
    pass(30_000);
    await expect.poll(told).toEqual(["alert.firing mail Late"]);
  });

  test("an answer that was lost is no second firing", async () => {
    const { sights, decide, round, told, store, active } = await open(late2.replace("mail*", "none"));
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
    sights.set("mail", { depth: 6 });
    const decider = await decide(1);
    await round(decider);
    expect(isLost).toBe(true);
    expect(await active()).toEqual(["mail Deep FIRING"]);
    expect(await told()).toEqual(["alert.firing mail Deep"]);
  });
});

describe("what is kept is bounded", () => {
  test("by no more alerts than may be there, of which the others are counted", async () => {
    const { sights, decide, round, active, store } = await open(
      late2.replace("mail*", "none").replace("mail,", "'*',"),
    );
    for (const queue of ["a", "b", "c"]) sights.set(queue, { depth: 6 });
    const decider = await decide(1, { mostActive: 2 });
    await round(decider);
    expect(await active()).toEqual(["a Deep FIRING", "b Deep FIRING"]);
    expect(await store.status()).toMatchObject({ ignored: 1 });
    sights.set("a", { depth: 0 });
    await round(decider);
    expect(await active()).toEqual(["b Deep FIRING", "c Deep FIRING"]);
  });

  test("by the newest words of an outbox that nobody empties, of which the dropped are counted", async () => {
    const { sights, decide, round, told, store } = await open(late2.replace("mail*", "none"), {
      mostWords: 2,
    });
    const decider = await decide(1);
    for (const depth of [6, 0, 6, 0, 6]) {
      sights.set("mail", { depth });
      await round(decider);
    }
    expect(await told()).toEqual(["alert.resolved mail Deep", "alert.firing mail Deep"]);
    expect((await store.status()).receivers).toMatchObject([{ receiver: "webhook", dropped: 3 }]);
  });

  test("by no outbox where nobody empties it", async () => {
    const { sights, decide, round, told, store } = await open(late2.replace("mail*", "none"), {
      mostWords: 0,
    });
    sights.set("mail", { depth: 6 });
    await round(await decide(1));
    expect(await told()).toEqual([]);
    expect((await store.status()).receivers).toEqual([]);
  });

  test("by a week for which nobody decides", async () => {
    const { sights, decide, round, redis, keys } = await open(late2.replace("mail*", "none"));
    sights.set("mail", { depth: 6 });
    await round(await decide(1));
    const { active, outbox, state } = keys.alerts;
    for (const key of [active, outbox, state])
      expect(await redis.pttl(key), key).toBeGreaterThan(6.9 * 86_400_000);
  });
});
