// `npm run lint:words`: finds words of which readers with English as a second language, and readers who know Redis, GraphQL or
// Prometheus, would have to guess the meaning.
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A word that is not written here. */
export interface Word {
  /** Matched as whole words, in any case; a name such as `isToldOf` is three words. With a pattern, examples of what that finds. */
  readonly words: readonly string[];
  /** Matched in the text as it is. */
  readonly pattern?: RegExp;
  readonly instead: string;
  readonly reason: string;
}

export const privateWords: readonly Word[] = [
  {
    words: ["whoever", "nobody", "somebody", "anybody", "everybody"],
    instead: "the client, the server, the operator, the leader, the caller",
    reason: "a thing acts, and it has a name",
  },
  {
    words: ["told", "untold", "tell", "tells", "telling"],
    instead: "report, return, send, push, notify, log, distinguish",
    reason: "each of these is another thing",
  },
  {
    words: ["heard", "hear", "hears", "hearing"],
    instead: "receive, observe, notice",
    reason: "software receives messages",
  },
  {
    words: ["nothing waits", "nothing waited", "what waits", "what waited"],
    instead: "no job waits; the waiting jobs",
    reason: "jobs wait",
  },
  { words: ["who asks", "who asked"], instead: "the client", reason: "the client asks" },
  {
    words: ["last word", "its word"],
    instead: "last reading, last error, last push",
    reason: "it is unclear which",
  },
  {
    words: ["so many", "of so many"],
    instead: "the number, or `this number of`",
    reason: "it points to a number that is not there",
  },
  {
    words: ["be it that", "be it by", "be they"],
    instead: "also, even when",
    reason: "few readers have met it",
  },
  { words: ["shall"], instead: "must, or the present tense", reason: "it means a duty or the future" },
  {
    words: ["let go", "lets go", "letting go"],
    instead: "drop, evict, remove, expire",
    reason: "these are the words of Redis",
  },
  {
    words: ["departure", "departures"],
    instead: "tombstone; dequeue or removal",
    reason: "the field's word",
  },
  {
    words: ["what becomes of", "what became of"],
    instead: "outcome, result, forecast",
    reason: "a noun is shorter",
  },
  { words: ["held against"], instead: "compared with, checked against", reason: "it means to blame" },
  { words: ["fare", "fares"], instead: "state, health", reason: "few readers have met it" },
  { words: ["dear", "dearer", "dearest"], instead: "expensive", reason: "it begins letters" },
  { words: ["sight", "sights"], instead: "observation, reading", reason: "the field's word" },
  {
    words: ["doubt", "doubts", "doubted"],
    instead: "data loss: detect, report, clear; INCOMPLETE",
    reason: "the state has a name",
  },
  { words: ["for good"], instead: "permanently", reason: "an idiom" },
  {
    words: ["may come in"],
    instead: "authenticated, accepted",
    reason: "the field's word is authentication",
  },
  { words: ["put right", "puts right"], instead: "correct, repair", reason: "an idiom" },
  {
    words: ["nudge", "lookout", "payer", "patience", "impatience", "deaf"],
    instead: "wake, queue observations, rate-limit key, timeout, disconnected",
    reason: "metaphors of our own",
  },
  {
    words: ["stands here", "stands there", "stands in", "stand there", "stand in"],
    instead: "is",
    reason: "text does not stand",
  },
  {
    words: ["mostJobs", "leastJobs", "longestMs", "furthestMs"],
    pattern: /\b(?:most|least|longest|furthest)[A-Z]\w*/,
    instead: "a name with max or min",
    reason: "settings and limits have these words",
  },
];

/** Where a word is right all the same. */
export const exceptions: readonly { readonly text: string; readonly reason: string }[] = [
  { text: "'doubt'", reason: "a field in Redis, of which the stored name stays" },
  { text: '"doubt"', reason: "the same, in tests" },
  { text: "`doubt`", reason: "the same, in pages" },
  { text: "letGo", reason: "a field in Redis, of which the stored name stays" },
  { text: "heardUntil", reason: "a field in Redis, of which the stored name stays" },
  { text: "QueuesNotTold", reason: "an alert of version 1, in the changelog" },
  { text: "StatsD cannot be told", reason: "a message of version 1, in the changelog" },
  { text: "StatsD can be told again", reason: "a message of version 1, in the changelog" },
  { text: "StatsD is not told of all queues", reason: "a message of version 1, in the changelog" },
  { text: "Faktory cannot tell the age", reason: "a message of version 1, in the changelog" },
  { text: "head cannot be told", reason: "a message of version 1, in the changelog" },
];

export const checkedFiles = [
  "*.md",
  "docs/**/*.{md,yml,yaml}",
  "src/**/*.{ts,tsx,lua,js,css,html}",
  "script/*",
  "schema.graphql",
  "{Dockerfile,compose.yaml,package.json}",
  ".github/**/*.{md,yml}",
  "test/**/*.ts",
  "bench/**/*.ts",
  "vitest.config.ts",
];

/** What has the words because it is about them. */
const tables = ["script/check-words.ts", "test/unit/check-words.test.ts"];

export interface Finding {
  /** From 1. */
  readonly line: number;
  readonly found: string;
  readonly word: Word;
}

/** The private words of a text. Names of files and members (`redis/told`, `a.told`) are found where they are declared. */
export function findPrivateWords(text: string): readonly Finding[] {
  return text.split("\n").flatMap((line, index) => {
    let rest = line;
    for (const { text: allowed } of exceptions) rest = rest.replaceAll(allowed, "");
    const spoken = rest.replace(/([a-z])([A-Z])/g, "$1 $2");
    return privateWords.flatMap((word) => {
      const found = (
        word.pattern === undefined ? patternOf(word).exec(spoken) : word.pattern.exec(rest)
      )?.[0];
      return found === undefined ? [] : [{ line: index + 1, found, word }];
    });
  });
}

const patterns = new Map<Word, RegExp>();

function patternOf(word: Word): RegExp {
  const known = patterns.get(word);
  if (known !== undefined) return known;
  const words = word.words.map((text) => text.replace(/([a-z])([A-Z])/g, "$1 $2")).join("|");
  const pattern = new RegExp(`(?<![\\w./-])(?:${words})(?!\\w)`, "i");
  patterns.set(word, pattern);
  return pattern;
}

/** Every private word in the project, a line for each: where it is, and what to write instead. */
export function checkWords(project: string): readonly string[] {
  const isOurs = (file: string) => !tables.includes(file) && !file.includes("node_modules/");
  const files = globSync(checkedFiles, { cwd: project }).filter(isOurs);
  return files
    .toSorted()
    .flatMap((file) =>
      findPrivateWords(readFileSync(join(project, file), "utf8")).map(
        ({ line, found, word }) => `${file}:${line}: "${found}": write ${word.instead} (${word.reason})`,
      ),
    );
}

if (import.meta.main) {
  const problems = checkWords(join(import.meta.dirname, ".."));
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exitCode = 1;
}
