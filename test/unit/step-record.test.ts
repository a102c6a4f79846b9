import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeRecentStep } from "../../src/history/recent-step.ts";
import {
  decodeRecord,
  encodeRecord,
  historyBucket,
  mergeRecords,
  type StepCounts,
  type StepRecord,
  toPoint,
} from "../../src/history/step-record.ts";

const gamma = 1.04;
/** The bucket that the tracker counts a wait in: see tracker/lua/includes/recent.lua. */
const trackersBucket = (ms: number) =>
  ms === 0 ? 0 : 1 + Math.max(0, Math.ceil(Math.log(ms) / Math.log(gamma) - 1e-9));

function countsOf(waits: readonly number[], enqueued = waits.length): StepCounts {
  const buckets = new Map<number, number>();
  for (const wait of waits) {
    const bucket = historyBucket(trackersBucket(wait));
    buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1);
  }
  const sumMs = waits.reduce((sum, wait) => sum + wait, 0);
  return {
    enqueued,
    dequeued: waits.length,
    waits: waits.length,
    sumMs,
    maxMs: Math.max(0, ...waits),
    buckets,
  };
}

const waitArb = fc.oneof(fc.nat(20), fc.nat(60_000), fc.nat(604_800_000));
const recordArb: fc.Arbitrary<StepRecord> = fc
  .record({
    latencies: fc.array(fc.nat(604_800_000), { minLength: 1, maxLength: 10 }),
    depths: fc.array(fc.nat(5_000_000), { minLength: 1, maxLength: 10 }),
    paused: fc.nat(10),
    incomplete: fc.oneof(fc.constant(0), fc.nat(10)),
    lowerBound: fc.oneof(fc.constant(0), fc.nat(10)),
    waits: fc.option(fc.array(waitArb, { maxLength: 50 })),
    enqueued: fc.nat(100_000),
  })
  .map(({ latencies, depths, paused, incomplete, lowerBound, waits, enqueued }) => ({
    samples: latencies.length,
    waitingSamples: latencies.filter((latency) => latency > 0).length,
    pausedSamples: Math.min(paused, latencies.length),
    incompleteSamples: Math.min(incomplete, latencies.length),
    ...(lowerBound === 0 ? {} : { lowerBoundSamples: Math.min(lowerBound, latencies.length) }),
    maxLatencyMs: Math.max(...latencies),
    sumLatencyMs: latencies.reduce((sum, latency) => sum + latency, 0),
    lastLatencyMs: latencies.at(-1) ?? 0,
    maxDepth: Math.max(...depths),
    lastDepth: depths.at(-1) ?? 0,
    counts: waits === null ? null : countsOf(waits, enqueued),
  }));
const recordsArb = fc.array(recordArb, { minLength: 1, maxLength: 8 });
const total = (counts: StepCounts | null) => [...(counts?.buckets.values() ?? [])].reduce((a, b) => a + b, 0);

describe("a record of a step", () => {
  test("is the same after it was written and read", () => {
    fc.assert(
      fc.property(recordArb, (record) => {
        expect(decodeRecord(encodeRecord(record))).toEqual(record);
        const { maxLatencyMs, sumLatencyMs, counts, lowerBoundSamples, ...recent } = record;
        const { enqueued = 0, dequeued = 0 } = counts ?? {};
        expect(decodeRecentStep(7, encodeRecord(record))).toEqual({
          ...{ atMs: 7, ...recent },
          counts: counts === null ? null : { enqueued, dequeued },
        });
      }),
    );
  });

  test("does not come from what is something else", () => {
    expect(() => decodeRecord(Buffer.from([0x93, 1, 2, 3]))).toThrow("expected the numbers of a step");
  });
});

describe("merging", () => {
  test("loses no count, whatever was counted", () => {
    fc.assert(
      fc.property(recordsArb, (records) => {
        const merged = mergeRecords(records);
        const counted = records.flatMap(({ counts }) => counts ?? []);
        const sum = (of: (counts: StepCounts) => number) => counted.reduce((all, each) => all + of(each), 0);
        expect(total(merged.counts)).toBe(sum(({ waits }) => waits));
        expect(merged.counts?.enqueued ?? 0).toBe(sum(({ enqueued }) => enqueued));
        expect(merged.counts?.dequeued ?? 0).toBe(sum(({ dequeued }) => dequeued));
        expect(merged.counts?.sumMs ?? 0).toBe(sum(({ sumMs }) => sumMs));
        const lowerBounds = records.reduce((all, each) => all + (each.lowerBoundSamples ?? 0), 0);
        expect(merged.lowerBoundSamples ?? 0).toBe(lowerBounds);
        expect(merged.samples).toBe(records.reduce((all, { samples }) => all + samples, 0));
      }),
    );
  });

  test("by way of shorter steps, cut anywhere, is the same as at once", () => {
    fc.assert(
      fc.property(recordsArb, recordsArb, (first, second) => {
        const atOnce = mergeRecords([...first, ...second]);
        expect(mergeRecords([mergeRecords(first), mergeRecords(second)])).toEqual(atOnce);
      }),
    );
  });

  test("of steps without a sample is refused, since it would be a zero where there is a gap", () => {
    expect(() => mergeRecords([])).toThrow("gap");
  });

  test("of what a source reported only part of the time keeps that part", () => {
    const [seen] = fc.sample(recordArb, 1);
    if (seen === undefined) throw new Error("a record was asked for");
    const withoutCounts = { ...seen, counts: null };
    expect(mergeRecords([withoutCounts, { ...seen, counts: countsOf([5, 7]) }]).counts?.waits).toBe(2);
    expect(mergeRecords([withoutCounts, withoutCounts]).counts).toBeNull();
  });
});

describe("a point", () => {
  test("has quantiles within 6 % of the true ones, to the ms; mean, count and max are exact", () => {
    fc.assert(
      fc.property(fc.array(waitArb, { minLength: 1, maxLength: 200 }), (waits) => {
        const [record] = fc.sample(recordArb, 1);
        if (record === undefined) throw new Error("a record was asked for");
        const { counts } = toPoint(0, { ...record, counts: countsOf(waits) });
        const sorted = waits.toSorted((a, b) => a - b);
        for (const [name, q] of [
          ["p50", 0.5],
          ["p95", 0.95],
          ["p99", 0.99],
        ] as const) {
          const trueMs = sorted[Math.ceil(q * waits.length) - 1] ?? 0;
          const readMs = (counts?.waitTime[name] ?? -1) * 1000;
          expect(Math.abs(readMs - trueMs)).toBeLessThanOrEqual(Math.max(0.06 * trueMs, 0.01));
        }
        expect(counts?.waitTime.count).toBe(waits.length);
        expect(counts?.waitTime.max).toBe(Math.max(...waits) / 1000);
      }),
    );
  });

  test("has no counts where the source reports none", () => {
    const [record] = fc.sample(recordArb, 1);
    if (record === undefined) throw new Error("a record was asked for");
    expect(toPoint(7, { ...record, counts: null }).counts).toBeNull();
    expect(toPoint(7, record).atMs).toBe(7);
  });
});
