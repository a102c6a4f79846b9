import { Webhook } from "standardwebhooks";
import { maxOutbox, maxRefusals } from "../core/alerts.ts";
import { AppError, messageOf } from "../core/errors.ts";
import { type MonotonicClock, monotonicClock, type WallClock, wallClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import { createWakeablePause } from "../runtime/pause.ts";
import type { Service } from "../runtime/service.ts";
import { createDeliverySchedule, type DueNotification } from "./delivery-schedule.ts";
import { ReceiverError, sendRequest } from "./http-client.ts";
import type { Outbox, OutboxEntry } from "./outbox.ts";

export interface WebhookNotifierOptions {
  readonly url: string;
  /** `whsec_…` */
  readonly secret: string;
  readonly outbox: Outbox;
  readonly count: (what: "delivered" | "failed" | "dropped") => void;
  readonly logger: Logger;
  /** How often the whole outbox is read again, in ms. @default 60_000 // a minute */
  readonly resendMs?: number | undefined;
  /** The first wait after a notification has failed. @default 1_000 // a second */
  readonly retryMs?: number | undefined;
  readonly timeoutMs?: number | undefined;
  /** The time by Redis's clock; null while it is not known. */
  readonly redisNowMs: () => number | null;
  readonly clock?: MonotonicClock;
  readonly wall?: WallClock;
}

/** Delivers the notifications of one outbox to one webhook. */
export interface WebhookNotifier extends Service {
  /** Something was written into the outbox. Never blocks. */
  wake(): void;
}

const maxInFlight = 10;
const maxInFlightPerRule = 5;
const entriesPerRead = 100;

/**
 * Signs after the Standard Webhooks specification. What is delivered is removed from the outbox after that, so it may come twice,
 * with the same `webhook-id`. When to try which notification is up to the {@link createDeliverySchedule schedule}; next-try times
 * and refusals are forgotten when another process goes on, and Redis drops what is older than a day.
 */
export function createWebhookNotifier(options: WebhookNotifierOptions): WebhookNotifier {
  const { url, secret, outbox, count, logger, resendMs = 60_000, retryMs = 1_000, timeoutMs } = options;
  const { redisNowMs, clock = monotonicClock, wall = wallClock } = options;
  const { receiver } = outbox;
  const signer = new Webhook(secret);
  const schedule = createDeliverySchedule({
    firstRetryMs: retryMs,
    ...{ maxInFlight, maxInFlightPerRule, maxSize: maxOutbox },
  });
  const stopping = new AbortController();
  const { signal } = stopping;
  const inFlight = new Set<Promise<void>>();
  /** Delivered, but still in the outbox since Redis was away. */
  const delivered = new Set<string>();
  let running: Promise<void> = Promise.resolve();
  let lastRead: string | null = null;
  let readAllAtMs = Number.NEGATIVE_INFINITY;
  let hasNews = true;
  const idle = createWakeablePause(signal);
  const outage = createOutageLog({
    ...{ logger, fields: { receiver } },
    begins: "webhook delivery failed; retrying",
    ends: "webhook delivery recovered",
  });

  /** Reads what is new; now and then everything, in case that Redis has lost its newest entries or its clock was set back. */
  async function readOutbox(): Promise<void> {
    if (clock.now() >= readAllAtMs + resendMs) {
      readAllAtMs = clock.now();
      lastRead = null;
    } else if (!hasNews) return;
    hasNews = false;
    for (;;) {
      const entries = await outbox.after(lastRead, entriesPerRead);
      for (const entry of entries) await add(entry);
      lastRead = entries.at(-1)?.id ?? lastRead;
      if (entries.length < entriesPerRead || signal.aborted) return;
    }
  }

  async function add({ id, alertId, body }: OutboxEntry): Promise<void> {
    const head = headOf(body);
    if (head !== null) return schedule.add({ id, alertId, rule: head.rule }, clock.now());
    count("dropped");
    logger.error({ receiver, entry: id }, "dropped an unreadable notification");
    await outbox.remove(id);
  }

  /**
   * Receivers refuse a timestamp that is minutes off by their clock. Whether this machine's clock is right or Redis's is not known
   * when they differ, so refused notifications are signed with one and the other in turn.
   */
  function timestampOf(refusals: number): Date {
    const wallMs = wall.epochMs();
    return new Date(refusals % 2 === 0 ? wallMs : (redisNowMs() ?? wallMs));
  }

  async function post({ body }: OutboxEntry, refusals: number): Promise<void> {
    const webhookId = headOf(body)?.webhookId ?? "";
    const sentAt = timestampOf(refusals);
    const headers = {
      "webhook-id": webhookId,
      "webhook-timestamp": String(Math.floor(sentAt.getTime() / 1_000)),
      "webhook-signature": signer.sign(webhookId, sentAt, body),
    };
    await sendRequest({ url, body, headers, signal, timeoutMs });
  }

  /** @throws AppError when Redis does not answer. */
  async function deliver({ id, alertId, refusals }: DueNotification): Promise<void> {
    const entry = delivered.has(id) ? null : await outbox.get(id);
    if (entry !== null) {
      try {
        await post(entry, refusals);
        count("delivered");
        delivered.add(id);
      } catch (error) {
        if (signal.aborted) return;
        count("failed");
        const refused = schedule.failed(id, error instanceof ReceiverError && error.isRefusal, clock.now());
        outage.failed(error, { failing: schedule.failing });
        if (refused < maxRefusals) return;
        count("dropped");
        logger.error({ receiver, alert: alertId, reason: messageOf(error) }, "gave up a notification");
      }
    }
    await outbox.remove(id);
    schedule.remove(id);
    delivered.delete(id);
    if (schedule.failing === 0) outage.recovered();
  }

  function begin(notification: DueNotification): void {
    const attempt = deliver(notification)
      .catch((error: unknown) => {
        schedule.postpone(notification.id, clock.now() + retryMs);
        // The connection itself logs that Redis is away.
        if (!(error instanceof AppError))
          logger.error({ receiver, err: error }, "webhook delivery is broken");
      })
      .finally(() => {
        inFlight.delete(attempt);
        idle.wake();
      });
    inFlight.add(attempt);
  }

  async function run(): Promise<void> {
    while (!signal.aborted) {
      const isRead = await readOutbox().then(
        () => true,
        (error: unknown) => {
          logger.debug({ receiver, err: messageOf(error) }, "an outbox could not be read");
          hasNews = true;
          return false;
        },
      );
      for (let next = schedule.next(clock.now()); next !== null; next = schedule.next(clock.now()))
        begin(next);
      if (isRead && hasNews) continue;
      await idle.pause(Math.min(isRead ? resendMs : retryMs, schedule.dueAtMs() - clock.now()));
    }
    await Promise.all(inFlight);
  }

  return {
    wake() {
      hasNews = true;
      idle.wake();
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

/** What is needed of a notification to deliver it; null when it is not one. */
function headOf(body: string): { readonly webhookId: string; readonly rule: string } | null {
  try {
    const { type, data } = JSON.parse(body) as { type: string; data: { id: string; rule: string } };
    const state = /^alert\.(\w+)$/.exec(type)?.[1];
    const isWhole = state !== undefined && /^[\w-]+$/.test(data.id) && typeof data.rule === "string";
    return isWhole ? { webhookId: `${data.id}-${state}`, rule: data.rule } : null;
  } catch {
    return null;
  }
}
