import type { Alert } from "../core/alerts.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Service } from "../core/service.ts";
import { type AlertStore, toAlert } from "./alert-store.ts";
import {
  type AlertFilter,
  type AlertWatch,
  type AlertWatchControl,
  createAlertWatch,
} from "./alert-watches.ts";

/** Tells what is published on one channel, and when something may have been missed. */
export interface AlertFeed extends Service {
  listen(listener: { onChange(text: string): void; onConnected(): void; onDisconnected(): void }): void;
}

export interface AlertNewsOptions {
  readonly feed: AlertFeed;
  readonly store: Pick<AlertStore, "active" | "resolved">;
  readonly logger: Logger;
}

export interface AlertNews extends Service {
  /** @throws AppError SERVICE_UNAVAILABLE when the first state cannot be read. */
  watch(filter: AlertFilter): Promise<AlertWatch>;
}

const retryMs = 500;
/** As many as are kept. */
const mostResolved = 1_000;

/**
 * Tells every subscriber of this process what becomes of alerts, whichever process decided it. Each change is read once, and all
 * are told the very same object. After the connection was away everything is read, and what is another one than before is told.
 */
export function createAlertNews({ feed, store, logger }: AlertNewsOptions): AlertNews {
  const watches = new Set<AlertWatchControl>();
  /** The last word on each alert that has not ended; only while somebody watches. */
  const known = new Map<string, Alert>();
  /** `known` is all there is: it was read since the connection was last away, and nothing was missed since. */
  let isComplete = false;
  /** For each reading that is under way, of which alerts something was heard meanwhile: that is newer than what is read. */
  const heardMeanwhile = new Set<Set<string>>();
  let isHearing = false;
  let connections = 0;
  let retry: NodeJS.Timeout | undefined;
  let isStopped = false;

  function learn(alert: Alert): void {
    if (watches.size === 0) return;
    if (alert.state === "RESOLVED") known.delete(alert.id);
    else known.set(alert.id, alert);
    for (const watch of watches) watch.tell(alert);
  }

  async function catchUp(): Promise<void> {
    const connection = connections;
    const heard = new Set<string>();
    heardMeanwhile.add(heard);
    try {
      const [active, resolved] = await Promise.all([store.active(), store.resolved(mostResolved)]);
      const now = new Map([...resolved, ...active].map((alert) => [alert.id, alert]));
      for (const [id, alert] of [...known]) {
        // One that is nowhere was PENDING, and left no trace.
        const newer = now.get(id) ?? { ...alert, state: "RESOLVED", end: "RECOVERED" };
        if (!heard.has(id) && !isSame(newer, alert)) learn(newer);
      }
      for (const alert of active) if (!heard.has(alert.id) && !known.has(alert.id)) learn(alert);
      isComplete = isHearing && watches.size > 0 && connection === connections;
    } finally {
      heardMeanwhile.delete(heard);
    }
  }

  function catchUpUntilDone(): void {
    clearTimeout(retry);
    if (watches.size === 0 || isStopped) return;
    catchUp().catch((error: unknown) => {
      logger.debug({ err: messageOf(error) }, "alerts cannot be read");
      clearTimeout(retry);
      retry = setTimeout(catchUpUntilDone, retryMs).unref();
    });
  }

  feed.listen({
    onChange(text) {
      try {
        const alert = toAlert(text);
        for (const heard of heardMeanwhile) heard.add(alert.id);
        learn(alert);
      } catch {
        // Whoever can publish on the channel can send anything.
        logger.debug({}, "what was heard is no alert");
      }
    },
    onConnected() {
      connections += 1;
      isHearing = true;
      catchUpUntilDone();
    },
    onDisconnected() {
      isHearing = false;
      isComplete = false;
    },
  });

  return {
    start: feed.start,
    async stop() {
      isStopped = true;
      clearTimeout(retry);
      for (const watch of [...watches]) watch.end();
      await feed.stop();
    },
    async watch(filter) {
      const control = createAlertWatch(filter, () => {
        watches.delete(control);
        if (watches.size > 0) return;
        known.clear();
        isComplete = false;
      });
      // Register, then read: what changes in between is heard, and at worst told twice.
      watches.add(control);
      try {
        if (!isComplete) await catchUp();
        for (const alert of known.values()) control.tell(alert);
      } catch (error) {
        control.end();
        throw error;
      }
      if (isStopped) control.end();
      return control.watch;
    },
  };
}

function isSame(a: Alert, b: Alert): boolean {
  return a.state === b.state && (a.acknowledgement === null) === (b.acknowledgement === null);
}
