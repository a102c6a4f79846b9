import { AppError, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { pause } from "../core/pause.ts";
import type { Service } from "../core/service.ts";

export interface SenderOptions {
  /** Who is told, for the log. */
  readonly receiver: string;
  /** Tells what there is to tell, if anything. @throws Error when it has to be tried again. */
  readonly send: (signal: AbortSignal) => Promise<void>;
  /** How long after it was told it is told again, in ms, with nobody having asked for it. */
  readonly everyMs: number;
  readonly logger: Logger;
  /** The shortest wait after a failure; each one that follows doubles it, up to a minute. @default 1_000 // a second */
  readonly retryMs?: number | undefined;
}

/** Tells one receiver, at its own pace: nobody waits for it, and a receiver that is slow or dead holds up nobody else. */
export interface Sender extends Service {
  /** There is something to tell. Returns at once; while it fails, it does not hurry it. */
  nudge(): void;
}

const longestRetryMs = 60_000;
const cannotDeliver = "alerts cannot be delivered; tried again until they are";

export function createSender({ receiver, send, everyMs, logger, retryMs = 1_000 }: SenderOptions): Sender {
  const stopping = new AbortController();
  let running: Promise<void> = Promise.resolve();
  let isNudged = false;
  let wake = () => {};
  let failures = 0;
  let isSaid = false;

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      isNudged = false;
      try {
        await send(stopping.signal);
        if (isSaid) logger.info({ receiver, failures }, "alerts are delivered again");
        isSaid = false;
        failures = 0;
        await wait(everyMs, true);
      } catch (error) {
        if (stopping.signal.aborted) return;
        failures += 1;
        const said = { receiver, failures, err: messageOf(error) };
        // Once, and not at every try; that Redis is away is said by its connection.
        if (isSaid || error instanceof AppError) logger.debug(said, cannotDeliver);
        else {
          logger.warn(said, cannotDeliver);
          isSaid = true;
        }
        await wait(retryAfterMs(failures, retryMs), false);
      }
    }
  }

  async function wait(ms: number, untilNudged: boolean): Promise<void> {
    if (untilNudged && isNudged) return;
    const waiting = new AbortController();
    if (untilNudged) wake = () => waiting.abort();
    await pause(ms, AbortSignal.any([stopping.signal, waiting.signal]));
    wake = () => {};
  }

  return {
    nudge() {
      isNudged = true;
      wake();
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
export function retryAfterMs(failures: number, firstMs: number, random: () => number = Math.random): number {
  const most = Math.min(longestRetryMs, firstMs * 2 ** Math.min(failures - 1, 30));
  return most * (0.5 + random() / 2);
}
