import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Service } from "../core/service.ts";
import type { AlertStore } from "./alert-store.ts";
import { alertsUrl, postableAlerts } from "./alertmanager.ts";
import type { Decider } from "./decider.ts";
import { sendRequest } from "./post.ts";
import { createSender, type Sender } from "./sender.ts";
import { createWebhookSend } from "./webhook.ts";

/** Who is told of alerts. */
export interface Receivers {
  /** Addresses of Alertmanagers; each is told everything. */
  readonly alertmanagers: readonly string[];
  readonly webhook: { readonly url: string; readonly secret: string } | null;
  /** Asked for by GET, each minute, for as long as alerts are decided. */
  readonly heartbeat: string | null;
}

export interface DeliveriesOptions {
  readonly receivers: Receivers;
  readonly store: AlertStore;
  readonly decider: Pick<Decider, "active" | "decidedAtMs">;
  readonly logger: Logger;
  /** How often an Alertmanager is told what it knows, and the heartbeat beats. @default 60_000 // a minute */
  readonly resendMs?: number | undefined;
  /** After a first failure. @default 1_000 // a second */
  readonly retryMs?: number | undefined;
}

export interface Deliveries extends Service {
  /** Something has become of an alert. */
  nudge(): void;
}

/** Tells all receivers, each at its own pace, from the process that decides. */
export function createDeliveries(options: DeliveriesOptions): Deliveries {
  const { receivers, store, decider, logger, resendMs = 60_000, retryMs } = options;

  function counter(receiver: string) {
    return (what: "delivered" | "failed" | "dropped") => {
      store.count(`${what}:${receiver}`, 1).catch((error: unknown) => {
        logger.debug({ receiver, err: messageOf(error) }, "a delivery was not counted");
      });
    };
  }

  /** Counts every request, be it answered or not. */
  async function counted(receiver: string, signal: AbortSignal, request: () => Promise<void>): Promise<void> {
    try {
      await request();
    } catch (error) {
      if (!signal.aborted) counter(receiver)("failed");
      throw error;
    }
    counter(receiver)("delivered");
  }

  function alertmanager(address: string): Sender {
    const receiver = `alertmanager ${new URL(address).host}`;
    const url = alertsUrl(address);
    const send = async (signal: AbortSignal) => {
      for (const body of postableAlerts(decider.active(), await store.resolved(1_000))) {
        await counted(receiver, signal, () => sendRequest({ url, body, signal }));
      }
    };
    return createSender({ receiver, send, everyMs: resendMs, logger, retryMs });
  }

  function webhook({ url, secret }: { readonly url: string; readonly secret: string }): Sender {
    const send = createWebhookSend({ url, secret, store, count: counter("webhook"), logger });
    return createSender({ receiver: "webhook", send, everyMs: resendMs, logger, retryMs });
  }

  /** It beats only when there is life: when rules were held against queues since the last beat. */
  function heartbeat(url: string): Sender {
    let beatForMs: number | null = null;
    const send = async (signal: AbortSignal) => {
      const { decidedAtMs } = decider;
      if (decidedAtMs === null || decidedAtMs < (beatForMs ?? 0) + resendMs) return;
      await counted("heartbeat", signal, () => sendRequest({ url, signal }));
      beatForMs = decidedAtMs;
    };
    return createSender({ receiver: "heartbeat", send, everyMs: resendMs / 60, logger, retryMs });
  }

  const nudged = [
    ...receivers.alertmanagers.map(alertmanager),
    ...(receivers.webhook === null ? [] : [webhook(receivers.webhook)]),
  ];
  const senders = [...nudged, ...(receivers.heartbeat === null ? [] : [heartbeat(receivers.heartbeat)])];
  return {
    nudge() {
      for (const sender of nudged) sender.nudge();
    },
    async start() {
      await Promise.all(senders.map((sender) => sender.start()));
    },
    async stop() {
      await Promise.all(senders.map((sender) => sender.stop()));
    },
  };
}
