import { expect, test } from "vitest";
import { createDeliverySchedule } from "../../src/alerts/delivery-schedule.ts";

const open = (options: { readonly maxInFlight?: number; readonly maxSize?: number } = {}) =>
  createDeliverySchedule({
    ...{ firstRetryMs: 1_000, maxInFlight: 10, maxInFlightPerRule: 5, maxSize: 10_000, random: () => 1 },
    ...options,
  });
type Schedule = ReturnType<typeof open>;

const add = (schedule: Schedule, id: string, alertId = id, rule = "A", nowMs = 0) =>
  schedule.add({ id, alertId, rule }, nowMs);
function takeAll(schedule: Schedule, nowMs: number): readonly string[] {
  const ids: string[] = [];
  for (let next = schedule.next(nowMs); next !== null; next = schedule.next(nowMs)) ids.push(next.id);
  return ids;
}

test("each notification has its own next-try time", () => {
  const schedule = open();
  add(schedule, "1");
  add(schedule, "2");
  expect(takeAll(schedule, 0)).toEqual(["1", "2"]);
  expect([1, 2, 3, 4].map((n) => (n === 4 ? schedule.failed("2", true, 0) : n))).toEqual([1, 2, 3, 1]);
  schedule.failed("1", false, 0);
  expect(takeAll(schedule, 999)).toEqual([]);
  expect(schedule.dueAtMs()).toBe(1_000);
  expect(takeAll(schedule, 1_000)).toEqual(["1", "2"]);
  schedule.remove("1");
  schedule.failed("2", true, 1_000);
  expect(schedule.dueAtMs()).toBe(3_000);
  add(schedule, "3", "3", "A", 1_500);
  expect(takeAll(schedule, 1_500)).toEqual(["3"]);
});

test("a new notification goes before any retry, and the one that failed least before the others", () => {
  const schedule = open({ maxInFlight: 1 });
  for (const [id, failures] of [
    ["1", 3],
    ["2", 1],
  ] as const) {
    add(schedule, id, id, id);
    for (let n = 0; n < failures; n++) {
      expect(schedule.next(n * 100_000)).toMatchObject({ id });
      schedule.failed(id, true, n * 100_000);
    }
  }
  add(schedule, "3", "3", "C", 900_000);
  const order = ["3", "2", "1"].map((id) => {
    expect(schedule.next(900_000)?.id).toBe(id);
    schedule.remove(id);
    return id;
  });
  expect(order).toEqual(["3", "2", "1"]);
});

test("notifications of one alert go one after the other", () => {
  const schedule = open();
  add(schedule, "1", "x");
  add(schedule, "2", "x");
  add(schedule, "3", "y");
  expect(takeAll(schedule, 0)).toEqual(["1", "3"]);
  schedule.failed("1", true, 0);
  expect(takeAll(schedule, 0)).toEqual([]);
  expect(takeAll(schedule, 1_000)).toEqual(["1"]);
  schedule.remove("1");
  expect(takeAll(schedule, 1_000)).toEqual(["2"]);
});

test("requests of one rule that do not end leave room for another rule", () => {
  const schedule = open();
  for (let n = 0; n < 100; n++) add(schedule, `a${n}`);
  expect(takeAll(schedule, 0)).toHaveLength(5);
  expect(schedule.dueAtMs()).toBe(Number.POSITIVE_INFINITY);
  for (let n = 0; n < 100; n++) add(schedule, `b${n}`, `b${n}`, "B");
  expect(takeAll(schedule, 0)).toEqual(["b0", "b1", "b2", "b3", "b4"]);
  schedule.remove("b2");
  expect(takeAll(schedule, 0)).toEqual(["b5"]);
});

test("the more fail, the less often each is tried", () => {
  const schedule = open();
  for (let n = 0; n < 400; n++) {
    add(schedule, `${n}`, `${n}`, `${n}`);
    expect(schedule.next(0)?.id).toBe(`${n}`);
    schedule.failed(`${n}`, false, 0);
  }
  expect(schedule.failing).toBe(400);
  // 20 tries within a second, as the first ones had.
  expect(schedule.dueAtMs()).toBe(1_000);
  schedule.postpone("0", 5_000_000);
  for (let n = 0; n < 400; n++) {
    const next = schedule.next(50_000);
    if (next === null) break;
    schedule.failed(next.id, false, 50_000);
  }
  expect(schedule.dueAtMs()).toBe(50_000 + 20_000);
});

test("forgets the oldest of more than the outbox holds, also one that is in flight", () => {
  const schedule = open({ maxSize: 2 });
  add(schedule, "1", "x");
  expect(takeAll(schedule, 0)).toEqual(["1"]);
  add(schedule, "2", "x");
  add(schedule, "3", "x");
  expect(schedule.size).toBe(2);
  expect(takeAll(schedule, 0)).toEqual(["2"]);
  expect(schedule.failed("1", true, 0)).toBe(0);
  schedule.remove("1");
  expect(schedule.size).toBe(2);
  add(schedule, "3", "x");
  expect(schedule.size).toBe(2);
});
