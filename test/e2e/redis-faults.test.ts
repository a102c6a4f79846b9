import { describe, expect, test } from "vitest";
import { onThisMachine } from "../support/busy-machine.ts";
import { heldBytes } from "../support/held-memory.ts";
import { type Fault, faults } from "../support/redis-faults.ts";
import { type Answer, ask } from "../support/server.ts";
import { type Asked, putUnderLoad, type Seen, type UnderLoad } from "../support/under-load.ts";
import { until } from "../support/until.ts";

/** The promise: a fresh state within this number of ms of its return. */
const promisedMs = 5_000;
/** For so long a subscriber may be sent what was right before: until a feed that says nothing is found out. */
const calmForMs = () => onThisMachine(1_750);

const everyWay = ["query", "queues", "sse", "websocket"];
const kinds: readonly Asked["what"][] = ["query", "queues", "recordEvents", "forgetQueue"];

/** The default of MAX_AGE: for so long a query may be answered from memory, whatever happens to Redis. */
const maxAgeMs = 100;

describe("while Redis", () => {
  test.for(faults)("$name, nothing is lost and no client gets a wrong number: $why", async (fault) => {
    await using load = await putUnderLoad({ args: fault.args ?? [] });
    await untilAllReceive(load);
    const heldBefore = await heldBytes(load.server);
    const mustWarn = fault.asked === "refused" || fault.pushed === "stale";

    const heal = await fault.strike(load);
    const struckAtMs = Date.now();
    await untilFelt(load, fault, struckAtMs);
    // A hang that is over before the connection is given up is not worth a line.
    if (mustWarn) await expect.poll(() => warningsOf(load)).toBeGreaterThan(0);
    const healingAtMs = Date.now();
    await heal();
    const healedAtMs = Date.now();
    await untilAllReceive(load);
    const recoveryMs = Date.now() - healedAtMs;
    await load.finishRecording();
    await untilAllReceive(load);
    const grown = (await heldBytes(load.server)) - heldBefore;
    await expectCalmLog(load);
    await load.end();
    expect(await load.server.stop()).toBe(0);

    expect(load.log().filter(({ level }) => level >= 50)).toEqual([]);
    expect(recoveryMs).toBeLessThan(onThisMachine(promisedMs));
    expectHonest(load);
    expectRightInTheEnd(load, await load.totals());
    if (fault.asked !== "either") {
      const during = load.asked.filter(
        ({ sentAtMs, tookMs }) => sentAtMs >= struckAtMs + maxAgeMs && sentAtMs + tookMs <= healingAtMs,
      );
      const refuses = fault.asked === "refused" ? (fault.refuses ?? kinds) : [];
      for (const { what, codes } of during) expect(codes.length > 0, what).toBe(refuses.includes(what));
    }
    if (fault.pushed === "fresh") {
      expect(load.seen.filter(({ stale, atMs }) => stale && atMs >= struckAtMs)).toEqual([]);
    }
    expect(grown).toBeLessThan(50e6);
  });
});

test("when Redis comes back with nothing, every client gets that, and then what is recorded anew", async () => {
  await using load = await putUnderLoad({ appendonly: false });
  await untilAllReceive(load);
  await load.finishRecording();
  const known = load.seen.length;
  await load.redis.kill();
  await load.redis.restart();
  const restartedAtMs = Date.now();
  // The list of names has gone with the rest, until a name comes up again.
  const those = everyWay.filter((by) => by !== "queues");
  await untilSeen(load, those, known, { depth: 0, stale: false, accuracy: "INCOMPLETE" });
  expect(Date.now() - restartedAtMs).toBeLessThan(onThisMachine(promisedMs));
  const forgotten = load.seen.length;
  await recordJob(load, "busy", "anew");
  await untilSeen(load, everyWay, forgotten, { depth: 1, stale: false, accuracy: "INCOMPLETE" });
  await load.end();
});

test("a foreign key in the place of one of ours spoils that queue alone, and leaves no batch half applied", async () => {
  await using load = await putUnderLoad({});
  const { admin, keys, server } = load;
  await untilAllReceive(load);
  const spoilt = { state: keys.state, waiting: keys.waiting, recent: keys.recent };
  const departed = [0, 1].map((i) => [`departed:${i}`, (queue: string) => keys.departed(queue)[i]!] as const);
  const places = [...Object.entries(spoilt), ...departed];
  for (const [queue, keyOf] of places) {
    await admin.call("SET", keyOf(queue), "another's");
    expect((await recordJob(load, queue, "job")).status, queue).toBe(500);
    await admin.del(keyOf(queue));
    expect((await recordJob(load, queue, "job")).body.data, queue).toEqual({
      recordEvents: { accepted: 3, duplicates: 0 },
    });
    const { body } = await ask(
      server.url,
      `{ queueLatency(queues: ["${queue}"]) { state depth waitTime { count } } }`,
    );
    expect(body.data.queueLatency, queue).toEqual([{ state: "WAITING", depth: 1, waitTime: { count: 1 } }]);
    const state = await admin.hgetall(keys.state(queue));
    const byBounds = Object.keys(state).filter((name) => name.startsWith("wait:"));
    expect(byBounds, queue).toHaveLength(1);
    expect(state, queue).toMatchObject({
      source: "events",
      enqueued: "2",
      dequeued: "1",
      [byBounds[0]!]: "1",
    });
  }
  await load.finishRecording();
  await untilAllReceive(load);
  await load.end();
  expectHonest(load);
  expectRightInTheEnd(load, await load.totals());
  expect(load.asked.filter(({ codes }) => codes.length > 0)).toEqual([]);
  expect(load.log().map(({ level }) => level)).toEqual(places.map(() => 50));
});

/** Until everything was asked often enough while it lasts, and who watches knows of it if that is what must be. */
async function untilFelt({ asked, seen }: UnderLoad, fault: Fault, struckAtMs: number): Promise<void> {
  const { asks = 1, pushed } = fault;
  await until(() => {
    const since = asked.filter(({ sentAtMs }) => sentAtMs >= struckAtMs);
    for (const kind of kinds) {
      expect(since.filter(({ what }) => what === kind).length, kind).toBeGreaterThanOrEqual(asks);
    }
    if (pushed !== "stale") return;
    const stale = seen.filter((each) => each.stale && each.atMs >= struckAtMs);
    expect(new Set(stale.map(({ by }) => by))).toEqual(new Set(["sse", "websocket"]));
  });
}

/** Whatever was answered was answered in time and with the right code, and whatever was sent as fresh was true. */
function expectHonest({ asked, seen, acknowledgedAt, sent }: UnderLoad): void {
  for (const { what, status, codes, tookMs } of asked) {
    expect({ what, status, codes }).toEqual(
      codes.length === 0
        ? { what, status: 200, codes: [] }
        : { what, status: 503, codes: ["SERVICE_UNAVAILABLE"] },
    );
    if (codes.length > 0) expect(tookMs, what).toBeLessThan(onThisMachine(2_000));
  }
  for (const { by, depth, stale, measuredAtMs } of seen) {
    if (stale) continue;
    // A query has all that was acknowledged before; a subscriber receives it a little later.
    const receivedMs = by === "query" || by === "queues" ? 0 : calmForMs();
    expect(depth, `${by} at ${measuredAtMs}`).toBeGreaterThanOrEqual(
      acknowledgedAt(measuredAtMs - receivedMs),
    );
    expect(depth).toBeLessThanOrEqual(sent);
  }
}

/** Every job was counted once, and the newest of each way is the whole truth. */
function expectRightInTheEnd({ seen, sent }: UnderLoad, totals: Readonly<Record<string, number>>): void {
  expect(totals).toEqual({ enqueued: sent });
  for (const by of everyWay) {
    expect(seen.findLast((each) => each.by === by)).toMatchObject({
      ...{ depth: sent, stale: false, accuracy: "EXACT" },
    });
  }
}

/**
 * Of each connection, and of the throttle, one line when it begins and one when it is over, and nothing for which an operator has to act.
 */
async function expectCalmLog(load: UnderLoad): Promise<void> {
  const endings = () => load.log().filter(({ level }) => level === 30).length;
  // It is called over when nothing has happened for a while.
  await until(() => expect(endings()).toBe(warningsOf(load)));
  const said = load.log().map((line) => JSON.stringify(line));
  expect(said.length, said.join("\n")).toBeLessThanOrEqual(8);
}

function warningsOf(load: UnderLoad): number {
  return load.log().filter(({ level }) => level === 40).length;
}

/** Until each of those has received this, after this number of others. */
function untilSeen(
  { seen }: UnderLoad,
  those: readonly string[],
  after: number,
  expected: Partial<Seen>,
): Promise<void> {
  return until(async () => {
    for (const by of those) {
      expect(
        seen.slice(after).findLast((each) => each.by === by),
        by,
      ).toMatchObject(expected);
    }
  });
}

/** One job comes, and another one comes and is taken; always the same batch. */
function recordJob({ server }: UnderLoad, queue: string, jobId: string): Promise<Answer> {
  const mutation = `mutation ($events: [QueueEventInput!]!, $batchId: ID) {
    recordEvents(events: $events, batchId: $batchId) { accepted duplicates } }`;
  const events = [
    { type: "ENQUEUED", queue, jobId },
    { type: "ENQUEUED", queue, jobId: `${jobId}, taken` },
    { type: "DEQUEUED", queue, jobId: `${jobId}, taken` },
  ];
  return ask(server.url, mutation, { events, batchId: `${queue}/${jobId}` });
}

/** Until each way has received all that is acknowledged now. */
async function untilAllReceive(load: UnderLoad): Promise<void> {
  const from = load.seen.length;
  const before = Math.max(1, load.acknowledged);
  await until(() => {
    const newest = (by: string): Seen | undefined => load.seen.slice(from).findLast((seen) => seen.by === by);
    for (const by of everyWay) {
      expect(newest(by), by).toMatchObject({ stale: false });
      expect(newest(by)?.depth, by).toBeGreaterThanOrEqual(before);
    }
  });
}
