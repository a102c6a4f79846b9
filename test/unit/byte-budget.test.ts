import { expect, test } from "vitest";
import { createByteBudget, createGrowingReservation } from "../../src/server/byte-budget.ts";

test("a client has its budget over all that it has in flight, and another client its own", () => {
  const budget = createByteBudget(100);
  const first = budget.reserve("a", 60);
  expect(budget.reserve("a", 41)).toBeNull();
  expect(budget.reserve("a", 40)).not.toBeNull();
  expect(budget.reserve("b", 100)).not.toBeNull();
  first?.();
  first?.();
  expect(budget.reserve("a", 61)).toBeNull();
  expect(budget.reserve("a", 60)).not.toBeNull();
});

test("one thing may be larger than the budget when nothing else is in flight", () => {
  const budget = createByteBudget(100);
  const large = budget.reserve("a", 1_000);
  expect(large).not.toBeNull();
  expect(budget.reserve("a", 1)).toBeNull();
  large?.();
  expect(budget.reserve("a", 1)).not.toBeNull();
});

test("what comes in small pieces is reserved in few steps, and released together", () => {
  const budget = createByteBudget(1_000);
  let steps = 0;
  const counted = {
    ...budget,
    reserve(client: string, bytes: number) {
      steps += 1;
      return budget.reserve(client, bytes);
    },
  };
  const growing = createGrowingReservation(counted, "a");
  budget.reserve("a", 1);
  for (let bytes = 1; bytes <= 500; bytes++) expect(growing.growTo(bytes)).toBe(true);
  expect(steps).toBeLessThan(12);
  expect(growing.growTo(1_000)).toBe(false);
  growing.release();
  expect(budget.reserve("a", 999)).not.toBeNull();
});
