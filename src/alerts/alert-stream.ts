import type { Alert } from "../core/alerts.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import type { AlertStore } from "./alert-store.ts";
import {
  type AlertFilter,
  type AlertWatch,
  type AlertWatchControl,
  createAlertWatch,
} from "./alert-watches.ts";
import { parseStoredAlert } from "./stored-alert.ts";

/** Listens to one channel, and knows when a message may have been missed. */
export interface AlertFeed extends Service {
  listen(listener: { onChange(text: string): void; onConnected(): void; onDisconnected(): void }): void;
}

export interface AlertStreamOptions {
  readonly feed: AlertFeed;
  readonly store: Pick<AlertStore, "active" | "resolved">;
  readonly logger: Logger;
}

export interface AlertStream extends Service {
  /**
   * @param first how many of the alerts that have not ended it begins with: FIRING ones first, then the newest.
   * @throws AppError SERVICE_UNAVAILABLE when the first state cannot be read.
   */
  watch(filter: AlertFilter, first: number): Promise<AlertWatch>;
}

const retryMs = 500;
/** As many as are kept. */
const maxResolved = 1_000;

/**
 * Pushes changed alerts to every subscriber of this process, whichever process evaluates the rules. Each change is parsed once, and
 * all subscribers get the same object. After the connection was lost everything is read, and what has changed meanwhile is pushed.
 */
export function createAlertStream({ feed, store, logger }: AlertStreamOptions): AlertStream {
  const watches = new Set<AlertWatchControl>();
  /** Subscribers that wait for the first state. */
  let joining = 0;
  /** The newest state of each alert that has not ended; only while there are subscribers. */
  const known = new Map<string, Alert>();
  /** `known` is complete: it was read since the connection was last lost, and no message was missed since. */
  let isComplete = false;
  /** For each read that is under way, the alerts that were published meanwhile: these are newer than what is read. */
  const publishedMeanwhile = new Set<Set<string>>();
  let isConnected = false;
  let connections = 0;
  let retry: NodeJS.Timeout | undefined;
  let isStopped = false;

  function isWatched(): boolean {
    return watches.size + joining > 0;
  }

  function forgetUnlessWatched(): void {
    if (isWatched()) return;
    known.clear();
    isComplete = false;
  }

  function learn(alert: Alert): void {
    if (!isWatched()) return;
    if (alert.state === "RESOLVED") known.delete(alert.id);
    else known.set(alert.id, alert);
    for (const watch of watches) watch.push(alert);
  }

  async function catchUp(): Promise<void> {
    const connection = connections;
    const published = new Set<string>();
    publishedMeanwhile.add(published);
    try {
      const [active, resolved] = await Promise.all([store.active(), store.resolved(maxResolved)]);
      const now = new Map([...resolved, ...active].map((alert) => [alert.id, alert]));
      for (const [id, alert] of [...known]) {
        // An alert that is in neither list was PENDING, and left no trace.
        const newer = now.get(id) ?? { ...alert, state: "RESOLVED", end: "RECOVERED" };
        if (!published.has(id) && !isSame(newer, alert)) learn(newer);
      }
      for (const alert of active) if (!published.has(alert.id) && !known.has(alert.id)) learn(alert);
      isComplete = isConnected && isWatched() && connection === connections;
    } finally {
      publishedMeanwhile.delete(published);
    }
  }

  function catchUpUntilDone(): void {
    clearTimeout(retry);
    if (!isWatched() || isStopped) return;
    catchUp().catch((error: unknown) => {
      logger.debug({ err: messageOf(error) }, "alerts cannot be read");
      clearTimeout(retry);
      retry = setTimeout(catchUpUntilDone, retryMs).unref();
    });
  }

  feed.listen({
    onChange(text) {
      try {
        const alert = parseStoredAlert(text);
        for (const published of publishedMeanwhile) published.add(alert.id);
        learn(alert);
      } catch {
        // Any client of this Redis can publish on the channel.
        logger.debug({}, "ignored a message that is not an alert");
      }
    },
    onConnected() {
      connections += 1;
      isConnected = true;
      catchUpUntilDone();
    },
    onDisconnected() {
      isConnected = false;
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
    async watch(filter, first) {
      const read = async () => {
        // What is published meanwhile is known then, too.
        if (!isComplete) await catchUp();
        return worstFirst(known.values(), filter).slice(0, first);
      };
      joining += 1;
      try {
        const alerts = await read();
        const control = createAlertWatch(filter, read, () => {
          watches.delete(control);
          forgetUnlessWatched();
        });
        watches.add(control);
        for (const alert of alerts) control.push(alert);
        if (isStopped) control.end();
        return control.watch;
      } finally {
        joining -= 1;
        forgetUnlessWatched();
      }
    },
  };
}

function worstFirst(alerts: Iterable<Alert>, { queue }: AlertFilter): readonly Alert[] {
  const isFiring = ({ state }: Alert) => (state === "FIRING" ? 1 : 0);
  return [...alerts]
    .filter((alert) => queue === null || alert.queue === queue)
    .sort((a, b) => isFiring(b) - isFiring(a) || b.sinceMs - a.sinceMs);
}

function isSame(a: Alert, b: Alert): boolean {
  return a.state === b.state && (a.acknowledgement === null) === (b.acknowledgement === null);
}
