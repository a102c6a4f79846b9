import { z } from "zod";
import { matchesGlob } from "../core/glob.ts";
import type { Logger } from "../runtime/logger.ts";
import { parseInWorker } from "../runtime/parse-in-worker.ts";
import { createRecentMap } from "../runtime/recent-map.ts";
import { createReloadableFile } from "../runtime/reloadable-file.ts";
import type { Service } from "../runtime/service.ts";
import { durationMs } from "./duration.ts";
import { parsed } from "./fields.ts";
import { parseYaml, yamlMap } from "./parse-yaml.ts";

/** Within how long jobs of some queues are to be taken. */
export interface Objective {
  readonly glob: string;
  /** Null: they have none, whatever their names say. */
  readonly objectiveMs: number | null;
}

export interface Objectives extends Service {
  /** Of the first glob that fits; else what the name itself says; in ms, null when there is none. */
  objectiveMsOf(queue: string): number | null;
}

export interface ObjectivesOptions {
  /** Null: objectives come from queue names only. */
  readonly path: string | null;
  readonly logger: Logger;
  /** How often the file is checked for a change. @default 500 // twice a second */
  readonly everyMs?: number;
}

/** Knows the objectives in a file, and reads it again when it changes; runtime/reloadable-file.ts has the rules. */
export function createObjectives({ path, logger, everyMs = 500 }: ObjectivesOptions): Objectives {
  if (path === null) {
    return { objectiveMsOf: objectiveMsInName, start: async () => {}, stop: async () => {} };
  }
  const file = createReloadableFile<readonly Objective[]>({
    path,
    setting: "OBJECTIVES_FILE",
    hint: "docs/health-and-forecast.md has an example of such a file, and script/demo-objectives.yml is one",
    maxBytes: 256_000,
    parse: parseInWorker({ module: new URL("./objectives.ts", import.meta.url), name: "parseObjectives" }),
    initial: [],
    logger,
    onChange: (objectives) => logger.info({ objectives: objectives.length }, "read objectives again"),
    everyMs,
  });
  const find = (queue: string) => {
    const first = file.value.find(({ glob }) => matchesGlob(glob, queue));
    return first === undefined ? objectiveMsInName(queue) : first.objectiveMs;
  };
  let knownOf = file.value;
  const known = createRecentMap<string, number | null>({ maxSize: maxKnown });
  return {
    objectiveMsOf(queue) {
      // Ordering all queues by lateness asks for each of them every second.
      if (knownOf !== file.value) known.clear();
      knownOf = file.value;
      const before = known.get(queue);
      if (before !== undefined) return before;
      const objectiveMs = find(queue);
      known.set(queue, objectiveMs);
      return objectiveMs;
    },
    start: file.start,
    stop: file.stop,
  };
}

const maxKnown = 50_000;

const maxObjectiveMs = 3_650 * 86_400_000;

const objective = parsed(
  "expected seconds, or a duration such as 500ms, 30s or 5m, of at most 3650d; or none",
  (text) => {
    const ms = text === "none" ? null : (durationMs(text, "s") ?? 0);
    return ms === null || (ms > 0 && ms <= maxObjectiveMs) ? ms : undefined;
  },
);
const fileOfObjectives = yamlMap(z.string().min(1, "expected a glob of queue names"), objective);

/**
 * Reads a YAML map of globs to durations, in the order in which they are tried. `none` removes
 * the objective in a name.
 *
 * @throws Error that lists all mistakes, each with its line.
 */
export function parseObjectives(text: string): readonly Objective[] {
  return [...parseYaml(text, fileOfObjectives).data].map(([glob, objectiveMs]) => ({ glob, objectiveMs }));
}

const inName =
  /(?:^|[^\p{L}\p{N}])(?:within|latency)[_.-]?(\d{1,9})[_.-]?(ms|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)$/iu;

/**
 * What the end of a queue's name says, in ms: `within_30_seconds`, `latency_30s`, `sidekiq/mail-within-5m`; null when it says
 * nothing.
 */
export function objectiveMsInName(queue: string): number | null {
  const [, amount, unit] = inName.exec(queue) ?? [];
  if (amount === undefined || unit === undefined) return null;
  const lower = unit.toLowerCase();
  const ms = durationMs(`${amount}${lower === "ms" ? lower : lower.charAt(0)}`) ?? 0;
  return ms > 0 && ms <= maxObjectiveMs ? ms : null;
}
