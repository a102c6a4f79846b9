import { Webhook } from "standardwebhooks";
import { wallClock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { AlertStore, OutboxEntry } from "./alert-store.ts";
import { ReceiverError, sendRequest } from "./post.ts";

export interface WebhookOptions {
  readonly url: string;
  /** `whsec_…` */
  readonly secret: string;
  readonly store: Pick<AlertStore, "outbox" | "takeOut">;
  readonly count: (what: "delivered" | "failed" | "dropped") => void;
  readonly logger: Logger;
}

const atOnce = 10;
/** What a receiver refuses so often is given up, after about two minutes: it would refuse it for ever. */
const mostRefusals = 8;
/** What is older than this helps nobody. */
const longestMs = 86_400_000;

/**
 * Empties the outbox into a webhook, signed after the Standard Webhooks specification: up to ten words at once, but of one alert
 * one after the other. What is delivered is taken out after that, so it may come twice, with the same `webhook-id`.
 *
 * @returns resolves when the outbox is empty; rejects with what went wrong first, when all that could be delivered was.
 */
export function createWebhookSend(options: WebhookOptions): (signal: AbortSignal) => Promise<void> {
  const { url, secret, store, count, logger } = options;
  const signer = new Webhook(secret);
  const refusals = new Map<string, number>();

  async function post({ body }: OutboxEntry, signal: AbortSignal): Promise<void> {
    const { data, type } = JSON.parse(body) as {
      readonly data: { readonly id: string };
      readonly type: string;
    };
    const webhookId = `${data.id}-${type.replace("alert.", "")}`;
    // Receivers compare it with their own wall clock, and refuse a timestamp that is minutes off.
    const sentAt = new Date(wallClock.epochMs());
    const headers = {
      "webhook-id": webhookId,
      "webhook-timestamp": String(Math.floor(sentAt.getTime() / 1_000)),
      "webhook-signature": signer.sign(webhookId, sentAt, body),
    };
    await sendRequest({ url, body, headers, signal });
  }

  /** Resolves when nobody need be told of it any more. */
  async function deliver(entry: OutboxEntry, signal: AbortSignal): Promise<void> {
    const { id, alertId, writtenAtMs } = entry;
    let reason = writtenAtMs < wallClock.epochMs() - longestMs ? "it is more than a day old" : null;
    if (reason === null) {
      await post(entry, signal).then(
        () => count("delivered"),
        (error: unknown) => {
          if (signal.aborted) throw error;
          count("failed");
          const refused = (refusals.get(id) ?? 0) + (isRefusal(error) ? 1 : 0);
          refusals.set(id, refused);
          if (refused < mostRefusals) throw error;
          reason = messageOf(error);
        },
      );
    }
    if (reason !== null) {
      count("dropped");
      logger.error({ alert: alertId, reason }, "a notification is given up");
    }
    await store.takeOut([id]);
    refusals.delete(id);
  }

  return async (signal) => {
    for (;;) {
      const entries = await store.outbox(atOnce);
      if (entries.length === 0 || signal.aborted) return;
      const results = await Promise.allSettled(
        firstOfEachAlert(entries).map((entry) => deliver(entry, signal)),
      );
      const failed = results.find((result) => result.status === "rejected");
      if (failed !== undefined) throw failed.reason;
    }
  };
}

function firstOfEachAlert(entries: readonly OutboxEntry[]): OutboxEntry[] {
  const seen = new Set<string>();
  return entries.filter(({ alertId }) => !seen.has(alertId) && seen.add(alertId));
}

/** It has understood, and will not have it; unlike one that is overloaded or does not work. */
function isRefusal(error: unknown): boolean {
  if (!(error instanceof ReceiverError)) return false;
  const { status } = error;
  return status >= 300 && status < 500 && ![408, 425, 429].includes(status);
}
