import type { Redis } from "ioredis";
import { monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import { createOutageLog, type OutageLog } from "../runtime/outage-log.ts";

/** An outage ends when nothing has failed for so long, and one lost connection is no outage before it. */
const calmMs = 1_000;

export function createDisconnectionLog(connection: string, logger: Logger): OutageLog {
  return createOutageLog({
    ...{ logger, calmMs, fields: { connection } },
    begins: "Redis unreachable",
    ends: "Redis reachable again",
  });
}

/** Logs outages of a connection after its first success. The caller that opens the connection gets the error of a first attempt. */
export function logDisconnections(redis: Redis, connection: string, logger: Logger): void {
  const outage = createDisconnectionLog(connection, logger);
  let readyAtMs: number | null = null;
  let wasReady = false;
  /** In a row, each soon after the connection was ready. The first may be an accident that the next connection mends. */
  let closes = 0;
  let soon: NodeJS.Timeout | undefined;

  redis.on("end", () => clearTimeout(soon));
  // Without a listener ioredis prints every failed attempt.
  redis.on("error", (error: Error) => {
    if (wasReady) outage.failed(error);
  });
  redis.on("close", () => {
    const wasStable = readyAtMs !== null && monotonicClock.now() >= readyAtMs + calmMs;
    readyAtMs = null;
    closes = wasStable ? 1 : closes + 1;
    if (!wasReady) return;
    if (closes > 1) outage.failed("each connection closes soon after it opens");
    soon ??= setTimeout(() => outage.failed("no connection is open"), calmMs);
    soon.unref();
  });
  redis.on("ready", () => {
    wasReady = true;
    clearTimeout(soon);
    soon = undefined;
    readyAtMs = monotonicClock.now();
    outage.recovered();
  });
}

/** By connection. */
const refusalListeners = new WeakMap<object, (script: string, refusal: string | null) => void>();

/** Logs when a reachable Redis refuses commands (out of memory, no permission, a replica), and when it accepts them again. */
export function logRefusals(redis: object, connection: string, logger: Logger): void {
  const outage = createOutageLog({
    ...{ logger, calmMs, fields: { connection } },
    begins: "Redis refuses commands",
    ends: "Redis accepts commands again",
  });
  // It may refuse writes only, so an answer to another script is no sign of an end.
  const refused = new Set<string>();
  refusalListeners.set(redis, (script, refusal) => {
    if (refusal !== null) {
      refused.add(script);
      outage.failed(refusal);
    } else if (refused.delete(script) && refused.size === 0) {
      outage.recovered();
    }
  });
}

/** Reports that Redis refused a script over a connection, with its message; null: the script has run. */
export function noteRefusal(redis: object, script: string, refusal: string | null): void {
  refusalListeners.get(redis)?.(script, refusal);
}
