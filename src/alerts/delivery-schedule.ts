import { retryDelayMs } from "./delivery-loop.ts";

/** What the schedule knows of a notification in the outbox; its body stays in Redis. */
export interface ScheduledNotification {
  /** Of its entry in the outbox. */
  readonly id: string;
  readonly alertId: string;
  readonly rule: string;
}

/** A notification to try now. */
export interface DueNotification extends ScheduledNotification {
  /** How often the receiver has refused it. */
  readonly refusals: number;
}

export interface DeliveryScheduleOptions {
  /** The first wait after a failure, in ms; each one that follows doubles it, up to a minute. */
  readonly firstRetryMs: number;
  readonly maxInFlight: number;
  /** So that requests of one rule that time out leave room for those of another. */
  readonly maxInFlightPerRule: number;
  /** More notifications than this are not in the outbox; the oldest are forgotten. */
  readonly maxSize: number;
  readonly random?: () => number;
}

/**
 * Decides which notification one receiver is sent next. Each has its own next-try time, so a refused one delays no other.
 * Notifications of one alert go one after the other: the receiver gets that it fires before it gets that it is resolved.
 *
 * Times are readings of a monotonic clock.
 */
export interface DeliverySchedule {
  readonly size: number;
  /** How many have failed and will be tried again. */
  readonly failing: number;
  /** Does nothing when the notification is known. */
  add(notification: ScheduledNotification, nowMs: number): void;
  /** The notification to try now, which is in flight from then on; null: none is due, or too many are in flight. */
  next(nowMs: number): DueNotification | null;
  /** When `next` may have one, if nothing ends before. Infinity: only then. */
  dueAtMs(): number;
  /** It failed. @returns how often the receiver has refused it by now. */
  failed(id: string, isRefusal: boolean, nowMs: number): number;
  /** It could not be tried, through no fault of the receiver. */
  postpone(id: string, untilMs: number): void;
  /** It was delivered, or is given up. */
  remove(id: string): void;
}

interface Entry extends ScheduledNotification {
  dueAtMs: number;
  failures: number;
  refusals: number;
  isInFlight: boolean;
}

/** A receiver that is away with many notifications outstanding is asked this often within `firstRetryMs` at most. */
const maxRetriesPerFirstRetry = 20;

export function createDeliverySchedule(options: DeliveryScheduleOptions): DeliverySchedule {
  const { firstRetryMs, maxInFlight, maxInFlightPerRule, maxSize, random } = options;
  // Maps whose entries come and go leave garbage of V8's behind. Here they change with notifications, which are few, and not with requests.
  /** Oldest first. */
  const entries = new Map<string, Entry>();
  /** Of each alert its notifications, oldest first. */
  const byAlert = new Map<string, Entry[]>();
  const inFlightOfRule = new Map<string, number>();
  let inFlight = 0;
  let failing = 0;

  function land(entry: Entry): void {
    if (!entry.isInFlight) return;
    entry.isInFlight = false;
    inFlight -= 1;
    const ofRule = (inFlightOfRule.get(entry.rule) ?? 1) - 1;
    if (ofRule > 0) inFlightOfRule.set(entry.rule, ofRule);
    else inFlightOfRule.delete(entry.rule);
  }

  function remove(id: string): void {
    const entry = entries.get(id);
    if (entry === undefined) return;
    land(entry);
    if (entry.failures > 0) failing -= 1;
    entries.delete(id);
    const others = (byAlert.get(entry.alertId) ?? []).filter((each) => each !== entry);
    if (others.length > 0) byAlert.set(entry.alertId, others);
    else byAlert.delete(entry.alertId);
  }

  /** The oldest notification of each alert, unless it is in flight or its rule has enough in flight. */
  function* candidates(): Generator<Entry> {
    for (const [entry] of byAlert.values()) {
      if (entry === undefined || entry.isInFlight) continue;
      if ((inFlightOfRule.get(entry.rule) ?? 0) < maxInFlightPerRule) yield entry;
    }
  }

  function take(entry: Entry): DueNotification {
    entry.isInFlight = true;
    inFlight += 1;
    inFlightOfRule.set(entry.rule, (inFlightOfRule.get(entry.rule) ?? 0) + 1);
    return entry;
  }

  return {
    get size() {
      return entries.size;
    },
    get failing() {
      return failing;
    },
    add(notification, nowMs) {
      if (entries.has(notification.id)) return;
      const entry = { ...notification, dueAtMs: nowMs, failures: 0, refusals: 0, isInFlight: false };
      entries.set(entry.id, entry);
      const ofAlert = byAlert.get(entry.alertId);
      if (ofAlert === undefined) byAlert.set(entry.alertId, [entry]);
      else ofAlert.push(entry);
      const [oldest] = entries.keys();
      if (entries.size > maxSize && oldest !== undefined) remove(oldest);
    },
    next(nowMs) {
      if (inFlight >= maxInFlight) return null;
      let best: Entry | null = null;
      for (const entry of candidates()) {
        if (entry.dueAtMs > nowMs) continue;
        // A first try goes before any retry.
        if (entry.failures === 0) return take(entry);
        if (best === null || entry.failures < best.failures) best = entry;
      }
      return best === null ? null : take(best);
    },
    dueAtMs() {
      let earliest = Number.POSITIVE_INFINITY;
      if (inFlight >= maxInFlight) return earliest;
      for (const { dueAtMs } of candidates()) earliest = Math.min(earliest, dueAtMs);
      return earliest;
    },
    failed(id, isRefusal, nowMs) {
      const entry = entries.get(id);
      if (entry === undefined) return 0;
      land(entry);
      if (entry.failures === 0) failing += 1;
      entry.failures += 1;
      if (isRefusal) entry.refusals += 1;
      const pacedMs = (failing * firstRetryMs) / maxRetriesPerFirstRetry;
      entry.dueAtMs = nowMs + Math.max(pacedMs, retryDelayMs(entry.failures, firstRetryMs, random));
      return entry.refusals;
    },
    postpone(id, untilMs) {
      const entry = entries.get(id);
      if (entry === undefined) return;
      land(entry);
      entry.dueAtMs = untilMs;
    },
    remove,
  };
}
