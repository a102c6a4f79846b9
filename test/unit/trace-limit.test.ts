import { expect, test } from "vitest";
import { createTraceLimit } from "../../src/exporters/trace-limit.ts";

function limitAt() {
  let nowMs = 0;
  const limit = createTraceLimit({ now: () => nowMs });
  const taken = (client: string, times: number) =>
    Array.from({ length: times }, () => limit.take(client)).filter(Boolean).length;
  const advance = (ms: number) => {
    nowMs += ms;
  };
  return { taken, advance };
}

test("accepts ten operations of a client in a second, and of others ten each", () => {
  const { taken, advance } = limitAt();
  expect(taken("a", 1_000)).toBe(10);
  expect(taken("b", 1_000)).toBe(10);
  advance(999);
  expect(taken("a", 1)).toBe(0);
  advance(1);
  expect(taken("a", 1_000)).toBe(10);
});

test("accepts a hundred operations in a second, however many clients there are", () => {
  const { taken } = limitAt();
  const perClient = Array.from({ length: 1_000 }, (_, i) => taken(`client-${i}`, 3));
  expect(perClient.reduce((sum, each) => sum + each, 0)).toBe(100);
});
