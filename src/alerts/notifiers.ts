import { messageOf } from "../core/errors.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import type { AlertStore } from "./alert-store.ts";
import { alertsUrl, postableAlerts } from "./alertmanager.ts";
import { createDeliveryLoop, type DeliveryLoop } from "./delivery-loop.ts";
import type { Evaluator } from "./evaluator.ts";
import { sendRequest } from "./http-client.ts";
import { createWebhookNotifier, type WebhookNotifier } from "./webhook-notifier.ts";

/** Who is notified of alerts. */
export interface Receivers {
  /** URLs of Alertmanagers; each is sent everything. */
  readonly alertmanagers: readonly string[];
  readonly webhooks: readonly { readonly url: string; readonly secret: string }[];
  /** Asked for by GET, each minute, for as long as rules are evaluated. */
  readonly heartbeat: string | null;
}

export interface ReceiverNames {
  readonly webhooks: readonly string[];
  readonly alertmanagers: readonly string[];
  readonly heartbeat: string;
  /** Of all that there are. */
  readonly all: readonly string[];
}

/** Webhooks are numbered, since their URLs may hold secrets; the first one is "webhook". */
export function receiverNames({ webhooks, alertmanagers, heartbeat }: Receivers): ReceiverNames {
  const names = {
    webhooks: webhooks.map((_, i) => (i === 0 ? "webhook" : `webhook ${i + 1}`)),
    alertmanagers: alertmanagers.map((url) => `alertmanager ${new URL(url).host}`),
    heartbeat: "heartbeat",
  };
  const all = [...names.webhooks, ...names.alertmanagers, ...(heartbeat === null ? [] : [names.heartbeat])];
  return { ...names, all: [...new Set(all)] };
}

export interface NotifiersOptions {
  readonly receivers: Receivers;
  readonly store: Pick<AlertStore, "outboxes" | "resolved" | "count">;
  readonly evaluator: Pick<Evaluator, "active" | "lastRound">;
  readonly logger: Logger;
  /** How often an Alertmanager is sent what it knows, and the heartbeat beats. @default 60_000 // a minute */
  readonly resendMs?: number | undefined;
  /** After a first failure. @default 1_000 // a second */
  readonly retryMs?: number | undefined;
  readonly timeoutMs?: number | undefined;
}

export interface Notifiers extends Service {
  /** Alerts have changed. */
  wake(): void;
}

/** Notifies all receivers, each at its own pace, from the process that evaluates the rules. */
export function createNotifiers(options: NotifiersOptions): Notifiers {
  const { receivers, store, evaluator, logger, resendMs = 60_000, retryMs, timeoutMs } = options;
  const names = receiverNames(receivers);

  function redisNowMs(): number | null {
    const { lastRound } = evaluator;
    return lastRound === null ? null : lastRound.atMs + (monotonicClock.now() - lastRound.monotonicMs);
  }

  function counter(receiver: string) {
    return (what: "delivered" | "failed" | "dropped") => {
      store.count(`${what}:${receiver}`, 1).catch((error: unknown) => {
        logger.debug({ receiver, err: messageOf(error) }, "a delivery was not counted");
      });
    };
  }

  /** Counts every request, whether it was answered or not. */
  async function counted(receiver: string, signal: AbortSignal, request: () => Promise<void>): Promise<void> {
    try {
      await request();
    } catch (error) {
      if (!signal.aborted) counter(receiver)("failed");
      throw error;
    }
    counter(receiver)("delivered");
  }

  function alertmanager(baseUrl: string, i: number): DeliveryLoop {
    const receiver = names.alertmanagers[i] ?? "";
    const url = alertsUrl(baseUrl);
    const send = async (signal: AbortSignal) => {
      const resolved = await store.resolved(1_000);
      const failures: unknown[] = [];
      // An Alertmanager that refuses one request may accept the next.
      for (const body of postableAlerts(evaluator.active(), resolved, redisNowMs())) {
        const request = () => sendRequest({ url, body, signal, timeoutMs });
        await counted(receiver, signal, request).catch((error: unknown) => failures.push(error));
        if (signal.aborted) return;
      }
      if (failures.length > 0) throw failures[0];
    };
    return createDeliveryLoop({ receiver, send, everyMs: resendMs, logger, retryMs });
  }

  function webhook({ url, secret }: Receivers["webhooks"][number], i: number): WebhookNotifier[] {
    const outbox = store.outboxes[i];
    if (outbox === undefined) return [];
    const count = counter(outbox.receiver);
    const timing = { resendMs, retryMs, timeoutMs, redisNowMs };
    return [createWebhookNotifier({ url, secret, outbox, count, logger, ...timing })];
  }

  /** Beats only if a round was finished since the last beat. */
  function heartbeat(url: string): DeliveryLoop {
    const receiver = names.heartbeat;
    let nextAfterMs = Number.NEGATIVE_INFINITY;
    const send = async (signal: AbortSignal) => {
      const { lastRound } = evaluator;
      if (lastRound === null || lastRound.monotonicMs < nextAfterMs) return;
      await counted(receiver, signal, () => sendRequest({ url, signal, timeoutMs }));
      nextAfterMs = lastRound.monotonicMs + resendMs;
    };
    return createDeliveryLoop({ receiver, send, everyMs: resendMs / 60, logger, retryMs });
  }

  const woken = [...receivers.alertmanagers.map(alertmanager), ...receivers.webhooks.flatMap(webhook)];
  const all = [...woken, ...(receivers.heartbeat === null ? [] : [heartbeat(receivers.heartbeat)])];
  return {
    wake() {
      for (const notifier of woken) notifier.wake();
    },
    async start() {
      await Promise.all(all.map((notifier) => notifier.start()));
    },
    async stop() {
      await Promise.all(all.map((notifier) => notifier.stop()));
    },
  };
}
