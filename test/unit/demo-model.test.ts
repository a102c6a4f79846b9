import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { createRandom, type DemoEvent, demoPlans, simulate } from "../../script/demo-model.ts";
import { nextStep, type Step } from "../../src/alerts/alert-state-machine.ts";
import { evaluateCondition } from "../../src/alerts/evaluate-condition.ts";
import type { QueueSnapshot } from "../../src/core/snapshot.ts";
import { parseAlertRules } from "../../src/settings/parse-alert-rules.ts";

const startMs = Date.UTC(2026, 0, 1);
const minutes = 30;

/** How a queue stands after each second of half an hour, by what its events say. */
const seconds = new Map(demoPlans.map(({ queue }) => [queue, watch(queue)]));

interface Second {
  readonly latencyMs: number;
  readonly depth: number;
  readonly scheduled: number;
}

function watch(queue: string): readonly Second[] {
  const simulation = start(demoPlans.filter((plan) => plan.queue === queue));
  const claimableMs = new Map<string, number>();
  return Array.from({ length: minutes * 60 }, (_, second) => {
    const nowMs = startMs + (second + 1) * 1_000;
    for (const event of simulation.advance(nowMs)) {
      if (event.type === "ENQUEUED") claimableMs.set(event.jobId, Date.parse(event.availableAt ?? event.at));
      else claimableMs.delete(event.jobId);
    }
    const waiting = [...claimableMs.values()].filter((ms) => ms <= nowMs);
    return {
      latencyMs: waiting.length === 0 ? 0 : nowMs - Math.min(...waiting),
      depth: waiting.length,
      scheduled: claimableMs.size - waiting.length,
    };
  });
}

function start(plans = demoPlans, seed = 1) {
  return simulate(plans, { startMs, random: createRandom(seed), run: "run" });
}

function of(queue: string): readonly Second[] {
  return seconds.get(queue)!;
}

function snapshotOf(latencyMs: number, depth: number): QueueSnapshot {
  return {
    queue: "demo/falling-behind",
    source: "events",
    state: depth > 0 ? "WAITING" : "EMPTY",
    oldestSinceMs: null,
    latencyMs,
    depth,
    scheduled: 0,
    lost: null,
    accuracy: "EXACT",
    measuredAtMs: 0,
    stale: false,
    changesAtMs: null,
    clockSkewMs: null,
    throughput: null,
    waitTime: null,
  };
}

function most(values: readonly number[]): number {
  return Math.max(...values);
}

describe("the demo's queues", () => {
  test("demo/steady keeps up: its latency stays below a second", () => {
    expect(most(of("demo/steady").map(({ latencyMs }) => latencyMs))).toBeLessThan(1_000);
  });

  test("demo/bursty has a burst every 20 seconds, which drains before the next", () => {
    for (let from = 0; from < minutes * 60; from += 20) {
      const burst = of("demo/bursty").slice(from, from + 20);
      expect(most(burst.map(({ latencyMs }) => latencyMs))).toBeGreaterThan(4_000);
      expect(burst.at(-1)!.depth).toBe(0);
    }
  });

  test("demo/falling-behind falls behind for five minutes, and has caught up after six", () => {
    const latencies = of("demo/falling-behind").map(({ latencyMs }) => latencyMs);
    for (let from = 0; from < minutes * 60; from += 360) {
      const cycle = latencies.slice(from, from + 360);
      for (const second of [60, 120, 180, 240, 300]) {
        expect(cycle[second - 1]).toBeGreaterThan((cycle[second - 60] ?? 0) + 5_000);
      }
      expect(cycle.at(-1)).toBeLessThan(1_000);
    }
    expect(most(latencies)).toBeLessThan(180_000);
  });

  test("demo/falling-behind makes its alert fire once in each six minutes, and end before the next", async () => {
    const rules = parseAlertRules(
      await readFile(new URL("../../script/demo-alerts.yml", import.meta.url), "utf8"),
    );
    const { condition, forMs } = rules.find(({ name }) => name === "DemoIsLate")!;
    let alert: { state: "PENDING" | "FIRING"; sinceMs: number } | null = null;
    const steps: string[] = [];
    for (const [second, { latencyMs, depth }] of of("demo/falling-behind").entries()) {
      const nowMs = second * 1_000;
      const { verdict } = evaluateCondition(condition, snapshotOf(latencyMs, depth), "UNKNOWN");
      const step: Step = nextStep(alert, verdict, forMs, nowMs);
      if (step === "BEGIN") alert = { state: "PENDING", sinceMs: nowMs };
      if (step === "FIRE") alert = { state: "FIRING", sinceMs: nowMs };
      if (step === "END" || step === "RESOLVE") alert = null;
      if (step === "FIRE" || step === "RESOLVE") steps.push(step);
    }
    expect(steps).toEqual(Array.from({ length: minutes / 6 }, () => ["FIRE", "RESOLVE"]).flat());
  });

  test("demo/scheduled always has jobs that are not claimable yet, and takes them soon after", () => {
    const settled = of("demo/scheduled").slice(20);
    for (const { scheduled } of settled) expect(scheduled).toBeGreaterThan(0);
    expect(most(settled.map(({ latencyMs }) => latencyMs))).toBeLessThan(10_000);
  });
});

describe("the simulation", () => {
  test("reports of each job once that it came, and once at most, never too soon, that it was taken", () => {
    const claimableMs = new Map<string, number>();
    const taken = new Set<string>();
    for (const { type, queue, jobId, at, availableAt } of start().advance(startMs + 600_000)) {
      const job = `${queue} ${jobId}`;
      if (type === "ENQUEUED") {
        expect(claimableMs.has(job)).toBe(false);
        claimableMs.set(job, Date.parse(availableAt ?? at));
      } else {
        expect(taken.has(job)).toBe(false);
        expect(Date.parse(at)).toBeGreaterThanOrEqual(claimableMs.get(job)!);
        taken.add(job);
      }
    }
    expect(taken.size).toBeGreaterThan(1_000);
  });

  test("is the same in steps of any length, with the same random numbers", () => {
    const inOne = start().advance(startMs + 60_000);
    const stepped = start();
    const inSteps: DemoEvent[] = [];
    for (let ms = 0; ms <= 60_000; ms += 250) inSteps.push(...stepped.advance(startMs + ms));
    expect(inSteps).toEqual(inOne);
    expect(start(demoPlans, 2).advance(startMs + 60_000)).not.toEqual(inOne);
  });

  test("reports nothing when time stands still or goes back", () => {
    const simulation = start();
    simulation.advance(startMs + 10_000);
    expect(simulation.advance(startMs + 10_000)).toEqual([]);
    expect(simulation.advance(startMs)).toEqual([]);
    expect(simulation.nowMs).toBe(startMs + 10_000);
  });

  test("makes about 40 events a second, so that a minute of the past is a few mutations", () => {
    const perSecond = start().advance(startMs + 360_000).length / 360;
    expect(perSecond).toBeGreaterThan(20);
    expect(perSecond).toBeLessThan(60);
  });
});
