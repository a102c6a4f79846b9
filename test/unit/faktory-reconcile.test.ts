import { expect, test } from "vitest";
import { reconcile } from "../../src/sources/faktory.ts";

const table = [
  { size: 0, latency: 0, headAgeMs: null, depth: 0, why: "both say that the queue is empty" },
  {
    size: 3,
    latency: 0,
    headAgeMs: null,
    depth: 0,
    why: "the three were fetched after INFO had counted them",
  },
  { size: 3, latency: 8.25, headAgeMs: 8250, depth: 3, why: "both say that jobs wait; seconds become ms" },
  {
    size: 0,
    latency: 0.5,
    headAgeMs: 500,
    depth: 1,
    why: "a job came after INFO had counted none: at least it waits",
  },
  {
    size: 1,
    latency: 2 ** -30,
    headAgeMs: 1000 * 2 ** -30,
    depth: 1,
    why: "a job of a nanosecond waits: only exactly 0 is empty",
  },
  {
    size: 2,
    latency: -3,
    headAgeMs: 0,
    depth: 2,
    why: "the head is from a clock that was ahead: it waits, for 0 at least",
  },
  { size: 0, latency: -3, headAgeMs: 0, depth: 1, why: "the same, and it came after INFO" },
];

test.each(table)("size $size and latency $latency s: $why", ({ size, latency, headAgeMs, depth }) => {
  const accuracy = latency < 0 ? "LOWER_BOUND" : "EXACT";
  expect(reconcile(size, latency)).toEqual({ headAgeMs, depth, accuracy });
});
