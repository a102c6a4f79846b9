import type { Logger } from "../core/logger.ts";
import { createTroubleLog } from "./trouble-log.ts";

/** By connection. */
const listeners = new WeakMap<object, (script: string, refusal: string | null) => void>();

/** Logs that a Redis that answers refuses what it is asked over a connection (no memory, no right, a replica), and the end. */
export function logRefusals(redis: object, connection: string, logger: Logger): void {
  const trouble = createTroubleLog(logger, connection, {
    begins: "Redis refuses to serve",
    ends: "Redis serves again",
  });
  // It may refuse those that write only, so what the others are answered is no sign of an end.
  const refused = new Set<string>();
  listeners.set(redis, (script, refusal) => {
    if (refusal !== null) {
      refused.add(script);
      trouble.wrong(refusal);
    } else if (refused.delete(script) && refused.size === 0) {
      trouble.well();
    }
  });
}

/** A script was refused over a connection, with these words; null: it has run. */
export function noteRefusal(redis: object, script: string, refusal: string | null): void {
  listeners.get(redis)?.(script, refusal);
}
