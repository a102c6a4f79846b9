import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type CurveHead,
  type CurveSample,
  createCumulativeCurve,
} from "../../src/sources/rabbitmq/cumulative-curve.ts";

const stepMs = 5_000;

interface Row {
  readonly why: string;
  /** Each 5 s later: ready, published, delivered for the first time. */
  readonly samples: readonly (readonly [number, number, number])[];
  /** After the last one; in seconds. */
  readonly age: number | null;
  readonly isLowerBound: boolean;
}

const rows: readonly Row[] = [
  { why: "no message is ready", samples: [[0, 7, 7]], age: null, isLowerBound: false },
  { why: "they were there before", samples: [[3, 0, 0]], age: 0, isLowerBound: true },
  {
    why: "they were there before, and none has left",
    samples: [
      [3, 10, 7],
      [3, 10, 7],
      [5, 12, 7],
    ],
    age: 10,
    isLowerBound: true,
  },
  {
    why: "the queue was empty, and a message came between two samples",
    samples: [
      [0, 0, 0],
      [1, 1, 0],
      [2, 2, 0],
    ],
    age: 7.5,
    isLowerBound: false,
  },
  {
    why: "the head came long after the one before, and a counter is ten seconds late at most",
    samples: [[0, 0, 0], ...Array.from({ length: 20 }, () => [1, 1, 0] as const), [2, 2, 0], [1, 2, 1]],
    age: 10,
    isLowerBound: false,
  },
  {
    why: "the ones that were there before have left",
    samples: [
      [2, 2, 0],
      [4, 4, 0],
      [2, 4, 2],
      [2, 4, 2],
    ],
    age: 12.5,
    isLowerBound: false,
  },
  {
    why: "all but the last have left",
    samples: [
      [0, 0, 0],
      [3, 3, 0],
      [3, 4, 1],
      [1, 5, 4],
    ],
    age: 2.5,
    isLowerBound: false,
  },
  {
    why: "they expired: none was delivered, and they are not ready",
    samples: [
      [0, 0, 0],
      [5, 5, 0],
      [2, 7, 0],
      [2, 7, 0],
      [2, 7, 0],
    ],
    age: 12.5,
    isLowerBound: false,
  },
  {
    why: "the queue was purged, and others came",
    samples: [
      [0, 0, 0],
      [9, 9, 0],
      [0, 9, 0],
      [1, 10, 0],
    ],
    age: 2.5,
    isLowerBound: false,
  },
  {
    why: "a worker was killed, and what it had is ready again",
    samples: [
      [0, 0, 0],
      [5, 5, 0],
      [0, 5, 5],
      [1, 6, 5],
      [6, 6, 5],
      [6, 6, 5],
      [6, 6, 5],
      [6, 6, 5],
    ],
    age: 20,
    isLowerBound: true,
  },
  {
    why: "three were taken, and the length says so ten seconds later than the counter",
    samples: [
      [0, 0, 0],
      [5, 5, 0],
      [5, 5, 3],
      [5, 5, 3],
      [2, 5, 3],
      [2, 5, 3],
    ],
    age: 22.5,
    isLowerBound: false,
  },
  {
    why: "messages come and are taken all the time, and the length is ten seconds late",
    samples: [
      [0, 0, 0],
      [10, 10, 0],
      [10, 20, 10],
      [10, 30, 20],
      [10, 40, 30],
      [10, 50, 40],
    ],
    age: 2.5,
    isLowerBound: false,
  },
  {
    why: "they came by dead-lettering, which is not counted as published",
    samples: [
      [0, 0, 0],
      [2, 0, 0],
      [2, 0, 0],
      [2, 0, 0],
      [2, 0, 0],
    ],
    age: 15,
    isLowerBound: true,
  },
  {
    why: "the broker was started again, and its counters with it",
    samples: [
      [0, 50, 50],
      [3, 53, 50],
      [3, 0, 0],
    ],
    age: 0,
    isLowerBound: true,
  },
];

test.each(rows)("where $why", ({ samples, age, isLowerBound }) => {
  const curve = createCumulativeCurve();
  let head: CurveHead | undefined;
  samples.forEach(([ready, published, delivered], i) => {
    head = curve.add({ atMs: i * stepMs, ready, published, delivered });
  });
  expect(head).toMatchObject({ ageMs: age === null ? null : age * 1_000, isLowerBound });
});

describe("beside a model of the queue", () => {
  /** Per second how many come and leave; which of the counters lag behind, and by how many seconds. */
  const second = fc.record({ come: fc.integer({ min: 0, max: 5 }), leave: fc.integer({ min: 0, max: 6 }) });
  const lags = fc.record({
    ready: fc.integer({ min: 0, max: 5 }),
    published: fc.integer({ min: 0, max: 5 }),
    delivered: fc.integer({ min: 0, max: 5 }),
  });

  test("the head came when it says, to what the counters lag behind", () => {
    fc.assert(
      fc.property(fc.array(second, { minLength: 30, maxLength: 150 }), lags, (seconds, lag) => {
        const cameAt: number[] = [];
        const states: (CurveSample & { readonly headAtMs: number | null })[] = [
          { atMs: 0, ready: 0, published: 0, delivered: 0, headAtMs: null },
        ];
        let left = 0;
        for (const [i, { come, leave }] of seconds.entries()) {
          const atMs = (i + 1) * 1_000;
          for (let n = 0; n < come; n++) cameAt.push(atMs);
          left = Math.min(cameAt.length, left + leave);
          const ready = cameAt.length - left;
          const headAtMs = ready === 0 ? null : (cameAt[left] ?? null);
          states.push({ atMs, ready, published: cameAt.length, delivered: left, headAtMs });
        }
        const at = (i: number) => states[Math.max(0, i)] as (typeof states)[number];
        const curve = createCumulativeCurve();
        for (let i = 0; i < states.length; i += 5) {
          const sample = {
            atMs: i * 1_000,
            ready: at(i - lag.ready).ready,
            published: at(i - lag.published).published,
            delivered: at(i - lag.delivered).delivered,
          };
          const { ageMs, uncertaintyMs, isLowerBound } = curve.add(sample);
          if (ageMs === null || isLowerBound) continue;
          const sinceMs = sample.atMs - ageMs;
          // Of any time in the last 15 s: the newest head that there was, and the oldest.
          const heads = states
            .slice(Math.max(0, i - 15), i + 1)
            .map(({ headAtMs, atMs }) => headAtMs ?? atMs);
          const slackMs = uncertaintyMs + 5_000;
          expect(sinceMs).toBeGreaterThanOrEqual(Math.min(...heads) - slackMs);
          expect(sinceMs).toBeLessThanOrEqual(Math.max(...heads) + slackMs);
        }
      }),
      { numRuns: 300 },
    );
  });
});
