import type { Logger } from "../runtime/logger.ts";
import { createOutageLog } from "../runtime/outage-log.ts";
import { scanKeys } from "./key-scan.ts";
import { isRefusal } from "./resumed-scan.ts";
import { type ScanStepOptions, scanStep } from "./scan-step.ts";
import type { WatchedRedis } from "./watched-redis.ts";

export interface KeySearchOptions extends Pick<ScanStepOptions, "type"> {
  readonly watched: WatchedRedis;
  readonly source: string;
  readonly logger: Logger;
  /** As `SCAN` takes them; none: nothing is searched for. */
  readonly patterns: readonly string[];
  readonly onFound: (key: string) => void;
}

export interface KeySearch {
  /** Whether all keys have been seen. */
  isDone(): boolean;
  run(signal: AbortSignal): Promise<void>;
}

const keysPerStep = 1_000;
/** Of the time of that Redis. */
const maxShare = 0.1;

/** Searches all keys of a Redis for those of some patterns, again and again, in small steps. */
export function searchKeys(options: KeySearchOptions): KeySearch {
  const { watched, source, logger, patterns, onFound, ...kind } = options;
  const passed = new Set<string>();
  const refused = createOutageLog({
    ...{ logger, fields: { source } },
    begins: "SCAN refused: queues are not searched for",
    ends: "SCAN allowed again: queues are searched for",
  });

  async function step(match: string, position: string): Promise<string> {
    return await watched.use(async (redis) => {
      const found = await scanStep(redis, position, { match, count: keysPerStep, ...kind });
      refused.recovered();
      for (const key of found.keys) onFound(key);
      return found.position;
    });
  }

  function fail(error: unknown): void {
    // That it is away, its reader logs.
    if (isRefusal(error)) refused.failed(error);
  }

  return {
    isDone: () => passed.size === patterns.length,
    async run(signal) {
      const scans = patterns.map((match) =>
        scanKeys({
          step: (position) => step(match, position),
          maxShare: maxShare / patterns.length,
          onPassed: () => passed.add(match),
          onFailed: fail,
          signal,
        }),
      );
      await Promise.all(scans);
    },
  };
}
