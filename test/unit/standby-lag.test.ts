import { expect, test } from "vitest";
import { createStandbyCheck } from "../../src/sources/postgres/standby-lag.ts";

interface Step {
  readonly atMs: number;
  readonly received?: number | null;
  readonly replayed?: number | null;
  readonly lag_ms?: number | null;
}

test.each<{ steps: readonly Step[]; behind: readonly boolean[]; why: string }>([
  {
    steps: [{ atMs: 0, received: 7, replayed: 7, lag_ms: 900_000 }],
    ...{ behind: [false], why: "its primary has written nothing for long" },
  },
  {
    steps: [{ atMs: 0, received: 8, replayed: 7, lag_ms: 900_000 }],
    ...{ behind: [false], why: "what has just come to it is replayed next" },
  },
  {
    steps: [0, 1, 2, 3, 4].map((n) => ({
      ...{ atMs: n * 1_000, received: n + 8, replayed: n + 7, lag_ms: 900_000 },
    })),
    ...{
      behind: [false, false, false, false, false],
      why: "a long transaction writes, and nothing is committed",
    },
  },
  {
    steps: [0, 1, 2, 3].map((n) => ({ atMs: n * 1_000, received: n + 8, replayed: 7, lag_ms: 100 })),
    ...{ behind: [false, false, false, true], why: "it replays nothing" },
  },
  {
    steps: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => ({ atMs: n * 1_000, received: n + 8, replayed: n + 3 })),
    behind: [false, false, false, true, true, true, true, true, true, true],
    why: "it replays what it received five seconds ago, and so never catches up",
  },
  {
    steps: [
      { atMs: 0, received: 900, replayed: 7 },
      { atMs: 3_000, received: 30, replayed: 30 },
      { atMs: 4_000, received: 31, replayed: 30 },
    ],
    ...{ behind: [false, false, false], why: "another server answers now" },
  },
  {
    steps: [
      { atMs: 0, received: 8, replayed: 7 },
      { atMs: 9_000, received: 8, replayed: 7 },
      { atMs: 9_001, received: 8, replayed: 8 },
    ],
    ...{ behind: [false, true, false], why: "it has caught up" },
  },
  {
    steps: [
      { atMs: 0, received: null, replayed: null, lag_ms: 1_900 },
      { atMs: 1_000, received: null, replayed: null, lag_ms: 2_900 },
    ],
    ...{ behind: [false, true], why: "it has lost its primary" },
  },
  {
    steps: [{ atMs: 0, received: null, replayed: null, lag_ms: null }],
    ...{ behind: [true], why: "it has replayed no transaction, and has no primary" },
  },
  {
    steps: [
      ...Array.from({ length: 200 }, (_, n) => ({ atMs: n * 1_000, received: n + 8, replayed: 7 })),
      { atMs: 200_000, received: 208, replayed: 208 },
    ],
    behind: [...Array.from({ length: 200 }, (_, n) => n > 2), false],
    why: "it has caught up after minutes",
  },
])("a standby is behind by what it received and has not replayed: $why", ({ steps, behind }) => {
  const { assertNotBehind } = createStandbyCheck(2_000);
  const seen = steps.map(({ atMs, ...row }) => {
    try {
      assertNotBehind([row], atMs);
      return false;
    } catch (error) {
      expect(error).toHaveProperty("message", expect.stringContaining("this standby has not replayed"));
      return true;
    }
  });
  expect(seen).toEqual(behind);
});
