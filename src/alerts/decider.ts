import type { Alert } from "../core/alerts.ts";
import { AppError, messageOf } from "../core/errors.ts";
import { LeaseLostError } from "../core/lease.ts";
import type { Logger } from "../core/logger.ts";
import { pause } from "../core/pause.ts";
import type { Service } from "../core/service.ts";
import type { AlertChange, AlertStore } from "./alert-store.ts";
import { nextStep } from "./life.ts";
import { begun, changeTo, ended, fired, placeOf } from "./make-alert.ts";
import { type AlertRule, ruleMatches } from "./rules.ts";
import { createLookout, type Sight, type Sights } from "./sights.ts";
import { createWatchedQueues } from "./watched-queues.ts";

export interface DeciderOptions {
  readonly store: AlertStore;
  readonly sights: Sights;
  /** The rules as they are now; the same object for as long as they are the same. */
  readonly rules: () => readonly AlertRule[];
  /** Of the lease under which it is decided. */
  readonly fence: number;
  /** Called after something was written. */
  readonly onWritten: () => void;
  readonly logger: Logger;
  /** A round that takes more than a fifth of this comes less often. @default 1_000 // a second */
  readonly everyMs?: number | undefined;
  /** How many alerts may be there that have not ended. @default 10_000 */
  readonly mostActive?: number | undefined;
}

/** Holds the rules against the queues, over and over. One process does it at a time. */
export interface Decider extends Service {
  /** Those that have not ended, as they are known here. */
  active(): Iterable<Alert>;
  /** When the last round that was finished began, by Redis's clock; null: none was. */
  readonly decidedAtMs: number | null;
}

const queuesPerRead = 500;

interface Firing {
  readonly alert: Alert;
  readonly rule: AlertRule;
  readonly sight: Sight;
  readonly value: number | null;
}

export function createDecider(options: DeciderOptions): Decider {
  const { store, sights, rules, fence, onWritten, logger, everyMs = 1_000, mostActive = 10_000 } = options;
  const stopping = new AbortController();
  const watched = createWatchedQueues(sights.list);
  const lookout = createLookout(sights, logger);
  /** By rule and queue. */
  let active = new Map<string, Alert>();
  /** What Redis has may be something else. */
  let isActiveKnown = false;
  /** The rules that all of `active` are known to be of. */
  let activeOf: readonly AlertRule[] | null = null;
  let decidedAtMs: number | null = null;
  let problem = "";
  let isFull = false;
  let running: Promise<void> = Promise.resolve();

  const alertOf = (rule: AlertRule, queue: string) => active.get(placeOf({ rule: rule.name, queue })) ?? null;

  async function round(): Promise<void> {
    const nowMs = await store.begin(fence, decidedAtMs);
    const current = rules();
    if (!isActiveKnown) {
      active = new Map((await store.active()).map((alert) => [placeOf(alert), alert]));
      isActiveKnown = true;
      activeOf = null;
    }
    if (activeOf !== current) await write(ofGoneRules([...active.values()], current, nowMs));
    activeOf = current;
    const queues = await watched.of(
      current,
      [...active.values()].map(({ queue }) => queue),
    );
    let ignored = 0;
    for (let from = 0; from < queues.length && !stopping.signal.aborted; from += queuesPerRead) {
      const isPending = (each: { readonly queue: string; readonly rules: readonly AlertRule[] }) =>
        each.rules.some((rule) => alertOf(rule, each.queue)?.state === "PENDING");
      const seen = await lookout.look(queues.slice(from, from + queuesPerRead), isPending, nowMs);
      ignored += await decide(seen, nowMs);
    }
    await noteIgnored(ignored);
    decidedAtMs = nowMs;
  }

  /** @returns how many did not begin, since there are too many. */
  async function decide(seen: readonly Sight[], nowMs: number): Promise<number> {
    const changes: AlertChange[] = [];
    const firing: Firing[] = [];
    let room = mostActive - active.size;
    let ignored = 0;
    for (const sight of seen) {
      for (const rule of sight.rules) {
        const { verdict, value } = lookout.findingOf(sight, rule);
        const known = alertOf(rule, sight.queue);
        const step = nextStep(known, verdict, rule.forMs, nowMs);
        if (step === "STAY") continue;
        const alert = known ?? begun(rule, sight.queue, value, nowMs);
        if (step === "BEGIN" && room-- <= 0) ignored += 1;
        else if (step === "BEGIN" && rule.forMs > 0) changes.push(changeTo(alert));
        else if (step === "BEGIN" || step === "FIRE") firing.push({ alert, rule, sight, value });
        else
          changes.push(changeTo(ended(alert, verdict === "GONE" ? "QUEUE_GONE" : "RECOVERED", value, nowMs)));
      }
    }
    const facts = await lookout.factsOf([...new Set(firing.map(({ sight }) => sight))], nowMs);
    for (const { alert, rule, sight, value } of firing) {
      const found = { value, facts: facts.get(sight.queue) ?? null, nowMs };
      changes.push(changeTo(fired(alert, rule, found)));
    }
    await write(changes);
    return ignored;
  }

  async function write(changes: readonly AlertChange[]): Promise<void> {
    if (changes.length === 0) return;
    await store.write(fence, changes);
    for (const { what, alert } of changes) {
      if (what === "keep") active.set(placeOf(alert), alert);
      else active.delete(placeOf(alert));
      if (alert.firedAtMs === null) continue;
      const { id, rule, queue, state, end, value } = alert;
      logger.info(
        { id, rule, queue, end, value },
        state === "FIRING" ? "an alert fires" : "an alert has ended",
      );
    }
    onWritten();
  }

  async function noteIgnored(ignored: number): Promise<void> {
    if (ignored > 0 && !isFull) {
      await store.count("ignored", ignored);
      logger.error({ mostActive, ignored }, "there are too many alerts: none begins until some have ended");
    }
    isFull = ignored > 0;
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      const startedAtMs = performance.now();
      try {
        await round();
        if (problem !== "") logger.info({}, "alerts are decided again");
        problem = "";
      } catch (error) {
        // What was written by a call that was not answered is read again.
        isActiveKnown = false;
        const message = messageOf(error);
        // That Redis is away is said by its connection, and whoever has lost the lease is stopped in a moment.
        if (error instanceof AppError || error instanceof LeaseLostError) {
          logger.debug({ err: message }, "alerts could not be decided");
        } else if (message !== problem) {
          logger.error({ err: error }, "alerts cannot be decided; tried again each second");
          problem = message;
        }
      }
      // With ten thousand queues a round takes long, and comes less often: others need this process, too.
      const tookMs = performance.now() - startedAtMs;
      await pause(Math.max(everyMs - tookMs, 4 * tookMs), stopping.signal);
    }
  }

  return {
    active: () => active.values(),
    get decidedAtMs() {
      return decidedAtMs;
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
  return alerts
    .filter(({ rule, queue, subject }) => {
      const now = byName.get(rule);
      return now === undefined || !ruleMatches(now, queue) || now.condition.subject !== subject;
    })
    .map((alert) => changeTo(ended(alert, "RULE_GONE", null, nowMs)));
}
