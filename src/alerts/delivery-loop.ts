import { AppError } from "../core/errors.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import { createWakeablePause, pause } from "../runtime/pause.ts";
import type { Service } from "../runtime/service.ts";

export interface DeliveryLoopOptions {
  /** The receiver's name in the log. */
  readonly receiver: string;
  /** Sends whatever the receiver has to know now, if anything. @throws Error when it has to be tried again. */
  readonly send: (signal: AbortSignal) => Promise<void>;
  /** How long after a success it sends again by itself, in ms. */
  readonly everyMs: number;
  readonly logger: Logger;
  /** The first wait after a failure; each one that follows doubles it, up to a minute. @default 1_000 // a second */
  readonly retryMs?: number | undefined;
  readonly clock?: MonotonicClock;
}

/** Sends to one receiver at its own pace, so that one that is slow or dead delays no other. */
export interface DeliveryLoop extends Service {
  /** There is something new: it is sent at once, or `retryMs` after the last try while the receiver fails. Never blocks. */
  wake(): void;
}

const maxRetryMs = 60_000;

export function createDeliveryLoop(options: DeliveryLoopOptions): DeliveryLoop {
  const { receiver, send, everyMs, logger, retryMs = 1_000, clock = monotonicClock } = options;
  const stopping = new AbortController();
  let running: Promise<void> = Promise.resolve();
  let isWoken = false;
  const idle = createWakeablePause(stopping.signal);
  let failures = 0;
  const outage = createOutageLog({
    ...{ logger, fields: { receiver } },
    begins: "alert delivery failed; retrying",
    ends: "alert delivery recovered",
  });

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      isWoken = false;
      const triedAtMs = clock.now();
      const waitMs = await tryToSend();
      if (!isWoken) await idle.pause(waitMs);
      // What is new may be accepted though what went before was refused, so it does not wait for the whole backoff.
      if (failures > 0 && isWoken) await pause(triedAtMs + retryMs - clock.now(), stopping.signal);
    }
  }

  /** @returns how long to wait, in ms. */
  async function tryToSend(): Promise<number> {
    try {
      await send(stopping.signal);
      outage.recovered({ failures });
      failures = 0;
      return everyMs;
    } catch (error) {
      if (stopping.signal.aborted) return 0;
      failures += 1;
      // The connection itself logs that Redis is away.
      if (!(error instanceof AppError)) outage.failed(error, { failures });
      return retryDelayMs(failures, retryMs);
    }
  }

  return {
    wake() {
      isWoken = true;
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

/** Doubled with each failure, up to a minute; of that a random part of at least a half, so that not all come back at once. */
export function retryDelayMs(failures: number, firstMs: number, random: () => number = Math.random): number {
  const maxMs = Math.min(maxRetryMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return maxMs * (0.5 + random() / 2);
}
