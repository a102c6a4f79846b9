import type { Redis } from "ioredis";
import { monotonicClock } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";
import { calmMs, createTroubleLog } from "./trouble-log.ts";

/**
 * Logs that a connection does not serve, and the end of that. Why a first attempt fails is for whoever opens the connection
 * to say.
 */
export function logAbsence(redis: Redis, connection: string, logger: Logger): void {
  const trouble = createTroubleLog(logger, connection, { begins: "Redis is away", ends: "Redis is back" });
  let readyAtMs: number | null = null;
  let wasReady = false;
  /** In a row. One may be an accident, which the next connection makes good, if it comes soon. */
  let closes = 0;
  let soon: NodeJS.Timeout | undefined;

  redis.on("end", () => clearTimeout(soon));
  // Without a listener ioredis prints every failed attempt.
  redis.on("error", (error: Error) => {
    if (wasReady) trouble.wrong(error.message);
  });
  redis.on("close", () => {
    const hadStayed = readyAtMs !== null && monotonicClock.now() >= readyAtMs + calmMs;
    readyAtMs = null;
    closes = hadStayed ? 1 : closes + 1;
    if (!wasReady) return;
    if (closes > 1) trouble.wrong("each connection is closed soon");
    soon ??= setTimeout(() => trouble.wrong("no connection serves"), calmMs);
    soon.unref();
  });
  redis.on("ready", () => {
    wasReady = true;
    clearTimeout(soon);
    soon = undefined;
    readyAtMs = monotonicClock.now();
    trouble.well();
  });
}
