import { isMap, isScalar, LineCounter, parseDocument } from "yaml";
import { matchesGlob } from "../core/glob.ts";
import type { Logger } from "../runtime/logger.ts";
import { parseInWorker } from "../runtime/parse-in-worker.ts";
import { createReloadableFile } from "../runtime/reloadable-file.ts";
import type { Service } from "../runtime/service.ts";

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
  /** How often it is looked whether the file has changed. @default 500 // twice a second */
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
    onChange: (objectives) =>
      logger.info({ objectives: objectives.length }, "the objectives were read again"),
    everyMs,
  });
  const find = (queue: string) => {
    const first = file.value.find(({ glob }) => matchesGlob(glob, queue));
    return first === undefined ? objectiveMsInName(queue) : first.objectiveMs;
  };
  let knownOf = file.value;
  const known = new Map<string, number | null>();
  return {
    objectiveMsOf(queue) {
      // Ordering all queues by lateness asks for each of them every second.
      if (knownOf !== file.value || known.size > maxKnown) known.clear();
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

/**
 * Reads a YAML mapping of globs to seconds, in the order in which they are tried. `none` in place of seconds removes
 * the objective in a name.
 *
 * @throws Error that lists all mistakes, each with its line.
 */
export function parseObjectives(text: string): readonly Objective[] {
  const lines = new LineCounter();
  // Texts as they stand: a queue may be named 42, or null.
  const document = parseDocument(text, {
    ...{ lineCounter: lines, schema: "failsafe", prettyErrors: false },
    // The package compares each key with all others.
    uniqueKeys: false,
  });
  const textLines = text.split("\n");
  const globs = new Set<string>();
  const objectives: Objective[] = [];
  const problems: Problem[] = [];
  const lineAt = (offset: number | undefined) => lines.linePos(offset ?? 0).line;

  for (const { pos, message } of [...document.errors, ...document.warnings]) {
    const line = lineAt(pos[0]);
    const isStar = /^\s*\*/.test(textLines[line - 1] ?? "");
    problems.push({ line, problem: isStar ? 'expected quotes around a glob that begins with "*"' : message });
  }
  if (isMap(document.contents)) {
    for (const { key, value } of document.contents.items) {
      const glob = isScalar(key) ? String(key.value) : "";
      const objectiveMs = isScalar(value) ? objectiveMsIn(String(value.value)) : undefined;
      const line = lineAt((key as { readonly range?: readonly number[] }).range?.[0]);
      if (glob === "") problems.push({ line, problem: "expected a glob of queue names" });
      else if (globs.has(glob)) problems.push({ line, problem: "Map keys must be unique" });
      else if (objectiveMs === undefined) problems.push({ line, problem: `${glob}: ${expectedValue}` });
      else objectives.push({ glob, objectiveMs });
      globs.add(glob);
    }
  } else if (problems.length === 0) {
    problems.push({ line: 1, problem: `expected lines such as "mail/*": 30` });
  }
  if (problems.length > 0) throw new Error(messageOf(problems));
  return objectives;
}

interface Problem {
  readonly line: number;
  readonly problem: string;
}

/** One for each line: YAML's later words of a line follow from its first. */
function messageOf(problems: readonly Problem[]): string {
  const byLine = Map.groupBy(problems, ({ line }) => line);
  return [...byLine]
    .sort(([a], [b]) => a - b)
    .map(([line, [first]]) => `line ${line}: ${first?.problem}`)
    .join("; ");
}

const maxSeconds = 315_360_000;
const expectedValue = `expected seconds, above 0 and at most ${maxSeconds}, or none`;

function objectiveMsIn(text: string): number | null | undefined {
  if (text === "none") return null;
  const seconds = /^\d+(\.\d+)?$/.test(text) ? Number(text) : 0;
  return seconds > 0 && seconds <= maxSeconds ? seconds * 1000 : undefined;
}

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
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
  const ms = Number(amount) * unitMs[lower === "ms" ? "ms" : (lower.charAt(0) as keyof typeof unitMs)];
  return ms > 0 && ms <= maxSeconds * 1000 ? ms : null;
}
