import { type AlertRule, createRuleMatcher } from "../core/alert-rules.ts";
import { type Alert, maxActiveAlerts } from "../core/alerts.ts";
import { AppError, messageOf } from "../core/errors.ts";
import { type Hold, LeaseLostError } from "../core/lease.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import { pause } from "../runtime/pause.ts";
import type { Service } from "../runtime/service.ts";
import { type AlertCapacity, createAlertCapacity } from "./alert-capacity.ts";
import { nextStep } from "./alert-state-machine.ts";
import type { AlertChange, AlertStore } from "./alert-store.ts";
import type { Verdict } from "./evaluate-condition.ts";
import { alertKey, changeTo, createAlert, ended, fired } from "./make-alert.ts";
import { createQueueAges } from "./queue-ages.ts";
import {
  createQueueObservations,
  type Observed,
  type QueueReader,
  type WatchedQueue,
} from "./queue-observations.ts";
import { createWatchedQueues } from "./watched-queues.ts";

export interface EvaluatorOptions {
  readonly store: AlertStore;
  readonly queues: QueueReader;
  /** The rules as they are now; the same object for as long as they are the same. */
  readonly rules: () => readonly AlertRule[];
  /** Of the lease under which the rules are evaluated. */
  readonly hold: Pick<Hold, "fence" | "supersede">;
  /** Called after something was written. */
  readonly onWritten: () => void;
  readonly logger: Logger;
  /** A round that takes more than a fifth of this comes less often. @default 1_000 // a second */
  readonly everyMs?: number | undefined;
  /** How many alerts there may be that have not ended. @default maxActiveAlerts */
  readonly maxActive?: number | undefined;
  /** Measures for how long conditions have held. */
  readonly clock?: MonotonicClock;
}

/** When a round began. */
export interface Round {
  /** By Redis's clock. */
  readonly atMs: number;
  readonly monotonicMs: number;
}

/** Evaluates the rules against the queues, over and over. One process does it at a time. */
export interface Evaluator extends Service {
  /** Alerts that have not ended, as they are known here. */
  active(): Iterable<Alert>;
  /** The last round that was finished; null: none was. */
  readonly lastRound: Round | null;
}

const queuesPerRead = 500;

interface Firing {
  readonly alert: Alert;
  readonly rule: AlertRule;
  readonly seen: Observed;
  readonly value: number | null;
}

export function createEvaluator(options: EvaluatorOptions): Evaluator {
  const { store, queues, rules, hold, onWritten, logger, clock = monotonicClock } = options;
  const { everyMs = 1_000, maxActive = maxActiveAlerts } = options;
  const { fence } = hold;
  const stopping = new AbortController();
  const watched = createWatchedQueues(queues.list);
  const observations = createQueueObservations(queues, logger);
  const ages = createQueueAges(queues.knownSince);
  /** By rule and queue. */
  let active = new Map<string, Alert>();
  /** Redis may have others than `active`. */
  let isActiveKnown = false;
  /** When PENDING alerts began, by id and by the monotonic clock: Redis's may be set, or be another node's after a failover. */
  const pendingSinceMs = new Map<string, number>();
  /** The rules that all of `active` are known to be of. */
  let activeOf: readonly AlertRule[] | null = null;
  let lastRound: Round | null = null;
  const outage = createOutageLog({
    ...{ logger, fields: {}, level: "error" },
    begins: "alerts could not be evaluated; retrying each second",
    ends: "alerts are evaluated again",
  });
  /** In the last round. */
  let droppedBefore = 0;
  let running: Promise<void> = Promise.resolve();

  function heldSince(
    key: string,
    { atMs, monotonicMs }: Round,
  ): { state: Alert["state"]; sinceMs: number } | null {
    const alert = active.get(key);
    if (alert === undefined) return null;
    // One that another process began has been PENDING for as long as Redis's clock says.
    const sinceMs = pendingSinceMs.get(alert.id) ?? monotonicMs - Math.max(0, atMs - alert.sinceMs);
    if (alert.state === "PENDING") pendingSinceMs.set(alert.id, sinceMs);
    return { state: alert.state, sinceMs };
  }

  async function round(): Promise<void> {
    const nowMs = await store.begin(fence, lastRound?.atMs ?? null);
    const now = { atMs: nowMs, monotonicMs: clock.now() };
    const current = rules();
    if (!isActiveKnown) {
      active = new Map((await store.active()).map((alert) => [alertKey(alert), alert]));
      isActiveKnown = true;
      activeOf = null;
      const ids = new Set([...active.values()].map(({ id }) => id));
      for (const id of pendingSinceMs.keys()) if (!ids.has(id)) pendingSinceMs.delete(id);
    } else if (active.size > (await store.activeCount())) await restoreActive();
    if (activeOf !== current) await write(ofGoneRules([...active.values()], current, nowMs));
    activeOf = current;
    const withAlerts = [...active.values()].flatMap(({ queue }) => queue ?? []);
    const all = await watched.of(current, new Set(withAlerts));
    const settled = new Set<string>();
    const capacity = createAlertCapacity({
      active: [...active.values()].filter(({ queue }) => queue !== null),
      ...{ maxActive, youthOf: ages.youthOf, isSettled: (key) => settled.has(key) },
    });
    ages.retain(new Set(all.map(({ queue }) => queue)));
    let areAgesLoaded = false;
    let dropped = 0;
    for (let from = 0; from < all.length && !stopping.signal.aborted; from += queuesPerRead) {
      const isPending = (each: { readonly queue: string; readonly rules: readonly AlertRule[] }) =>
        each.rules.some(({ name }) => {
          const alert = active.get(alertKey({ rule: name, queue: each.queue }));
          return alert?.state === "PENDING";
        });
      const page = all.slice(from, from + queuesPerRead);
      const seen = await observations.observe(page, isPending, nowMs);
      if (mayBeFull(page)) {
        if (!areAgesLoaded) await ages.load(withAlerts);
        areAgesLoaded = true;
        await ages.load(page.map(({ queue }) => queue));
      }
      dropped += await evaluate(seen, capacity, settled, now);
    }
    await reportDropped(dropped, current, now);
    lastRound = now;
  }

  /** Redis has evicted the alerts, or lost the newest of them. Without them queries would say that nothing fires. */
  async function restoreActive(): Promise<void> {
    const kept = [...active.values()].map((alert) => ({ what: "keep", alert, notification: null }) as const);
    await store.write(fence, kept);
    logger.warn({ alerts: kept.length }, "stored alerts again that Redis had lost");
  }

  /** Whether there may be too many alerts once these queues are evaluated. */
  function mayBeFull(page: readonly WatchedQueue[]): boolean {
    return active.size + page.reduce((sum, { rules }) => sum + rules.length, 0) > maxActive;
  }

  /** @param settled keys of alerts that were changed in this round. @returns how many alerts found no place. */
  async function evaluate(
    observed: readonly Observed[],
    capacity: AlertCapacity,
    settled: Set<string>,
    now: Round,
  ): Promise<number> {
    const nowMs = now.atMs;
    const changes: AlertChange[] = [];
    const firing: Firing[] = [];
    let dropped = 0;

    /** @returns false when there is no place for it. */
    function place(queue: string, rule: AlertRule): boolean {
      const place = capacity.place({ queue, fires: rule.forMs === 0 });
      if (typeof place === "boolean") return place;
      settled.add(alertKey(place));
      changes.push(changeTo(ended(place, "DISPLACED", null, nowMs)));
      dropped += 1;
      return true;
    }

    for (const seen of observed) {
      for (const rule of seen.rules) {
        const key = alertKey({ rule: rule.name, queue: seen.queue });
        if (settled.has(key)) continue;
        const { verdict, value } = observations.evaluate(seen, rule, now.monotonicMs);
        const step = nextStep(heldSince(key, now), verdict, rule.forMs, now.monotonicMs);
        if (step === "STAY") continue;
        if (step === "BEGIN" && !place(seen.queue, rule)) {
          dropped += 1;
          continue;
        }
        settled.add(key);
        const alert = active.get(key) ?? createAlert(rule, seen.queue, value, nowMs);
        if (step === "BEGIN") pendingSinceMs.set(alert.id, now.monotonicMs);
        if (step === "BEGIN" && rule.forMs > 0) changes.push(changeTo(alert));
        else if (step === "BEGIN" || step === "FIRE") firing.push({ alert, rule, seen, value });
        else {
          capacity.free();
          const end = verdict === "QUEUE_MISSING" ? "QUEUE_GONE" : "RECOVERED";
          changes.push(changeTo(ended(alert, end, value, nowMs)));
        }
      }
    }
    const facts = await observations.factsOf([...new Set(firing.map(({ seen }) => seen))], nowMs);
    for (const { alert, rule, seen, value } of firing) {
      changes.push(changeTo(fired(alert, rule, { value, facts: facts.get(seen.queue) ?? null, nowMs })));
    }
    await write(changes);
    return dropped;
  }

  async function write(changes: readonly AlertChange[]): Promise<void> {
    if (changes.length === 0) return;
    await store.write(fence, changes);
    for (const { what, alert } of changes) {
      if (what === "keep") active.set(alertKey(alert), alert);
      else active.delete(alertKey(alert));
      if (alert.state !== "PENDING") pendingSinceMs.delete(alert.id);
      if (alert.firedAtMs === null) continue;
      const { id, rule, queue, state, end, value } = alert;
      logger.info({ id, rule, queue, end, value }, state === "FIRING" ? "alert fires" : "alert resolved");
    }
    onWritten();
  }

  /** The built-in alert: it has a place of its own, and stays until a tenth of all places are free again. */
  async function reportDropped(dropped: number, current: readonly AlertRule[], now: Round): Promise<void> {
    const nowMs = now.atMs;
    if (dropped > 0 && droppedBefore === 0) {
      logger.error({ dropped, maxActive }, "dropped alerts: there are more than are kept");
    }
    // Best effort: a Redis that is full refuses it, and alerts go on.
    await store.count("ignored", dropped - droppedBefore).catch((error: unknown) => {
      logger.debug({ dropped, err: messageOf(error) }, "dropped alerts were not counted");
    });
    droppedBefore = dropped;
    const rule = current.find(({ condition }) => condition.subject === "dropped_alerts");
    if (rule === undefined) return;
    const key = alertKey({ rule: rule.name, queue: null });
    const known = active.get(key) ?? null;
    const isNearlyFull = active.size - (known === null ? 0 : 1) > maxActive * 0.9;
    const verdict: Verdict = dropped > 0 ? "TRUE" : isNearlyFull ? "IN_HYSTERESIS" : "FALSE";
    const step = nextStep(heldSince(key, now), verdict, rule.forMs, now.monotonicMs);
    if (step === "STAY") return;
    const alert = known ?? createAlert(rule, null, dropped, nowMs);
    if (step === "BEGIN" && rule.forMs > 0) await write([changeTo(alert)]);
    else if (step === "BEGIN" || step === "FIRE") {
      await write([changeTo(fired(alert, rule, { value: dropped, facts: null, nowMs }))]);
    } else await write([changeTo(ended(alert, "RECOVERED", dropped, nowMs))]);
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const startedAtMs = monotonicClock.now();
      try {
        await round();
        outage.recovered();
      } catch (error) {
        noteFailure(error);
      }
      // With ten thousand queues a round takes long and comes less often, since others need this process, too.
      const tookMs = monotonicClock.now() - startedAtMs;
      await pause(Math.max(everyMs - tookMs, 4 * tookMs), stopping.signal);
    }
  }

  function noteFailure(error: unknown): void {
    // What a call wrote whose answer was lost is read again.
    isActiveKnown = false;
    // After a failover the node that has the lease may have lost its newest tokens, with a clock that is behind them.
    if (error instanceof LeaseLostError && error.newerFence !== null) hold.supersede(error.newerFence);
    // The connection itself logs that Redis is away, and a process that has lost the lease is stopped in a moment.
    if (!(error instanceof AppError || error instanceof LeaseLostError)) outage.failed(error);
  }

  return {
    active: () => active.values(),
    get lastRound() {
      return lastRound;
    },
    async start() {
      running = run();
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

function ofGoneRules(alerts: readonly Alert[], rules: readonly AlertRule[], nowMs: number): AlertChange[] {
  const byName = new Map(rules.map((rule) => [rule.name, rule]));
  const rulesOf = createRuleMatcher(rules);
  return alerts
    .filter(({ rule, queue, subject }) => {
      const now = byName.get(rule);
      if (now === undefined || now.condition.subject !== subject) return true;
      return queue !== null && !rulesOf(queue).includes(now);
    })
    .map((alert) => changeTo(ended(alert, "RULE_GONE", null, nowMs)));
}
