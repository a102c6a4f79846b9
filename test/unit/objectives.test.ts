import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { StartError } from "../../src/core/errors.ts";
import {
  createObjectives,
  type Objectives,
  objectiveMsInName,
  parseObjectives,
} from "../../src/settings/objectives.ts";
import { recordingLogger } from "../support/logger.ts";

describe("the name of a queue", () => {
  test.each([
    { queue: "within_30_seconds", seconds: 30, why: "as many name them" },
    { queue: "within_1_second", seconds: 1, why: "one" },
    { queue: "within_5_minutes", seconds: 300, why: "minutes" },
    { queue: "within_2_hours", seconds: 7_200, why: "hours" },
    { queue: "within_1_day", seconds: 86_400, why: "days" },
    { queue: "latency_30s", seconds: 30, why: "the other habit" },
    { queue: "latency_5m", seconds: 300, why: "minutes, not months" },
    { queue: "latency_500ms", seconds: 0.5, why: "milliseconds, not minutes" },
    { queue: "latency-15min", seconds: 900, why: "hyphens, and a shorter word" },
    { queue: "within30s", seconds: 30, why: "nothing in between" },
    { queue: "WITHIN_30_SECONDS", seconds: 30, why: "case means nothing" },
    { queue: "sidekiq/within_30_seconds", seconds: 30, why: "behind a source" },
    { queue: "mail.latency_5m", seconds: 300, why: "behind a name" },
    { queue: "billing/mailers_within_5_minutes", seconds: 300, why: "behind both" },
  ])("$queue says $seconds seconds: $why", ({ queue, seconds }) => {
    expect(objectiveMsInName(queue)).toBe(seconds * 1000);
  });

  test.each([
    { queue: "default", why: "no word of it" },
    { queue: "30_seconds", why: "not within" },
    { queue: "within_seconds", why: "no number" },
    { queue: "within_30", why: "no unit" },
    { queue: "within_30_apples", why: "no unit of time" },
    { queue: "within_30_seconds_retry", why: "something else follows it" },
    { queue: "within_30_seconds/retry", why: "it is the name of something above the queue" },
    { queue: "herewithin_30_seconds", why: "a part of another word" },
    { queue: "within_0_seconds", why: "no worker can take a job before it is there" },
    { queue: "within_999999999_days", why: "longer than a life" },
    { queue: "within_-5_seconds", why: "not in the past" },
  ])("$queue says nothing: $why", ({ queue }) => {
    expect(objectiveMsInName(queue)).toBeNull();
  });
});

describe("a file of objectives", () => {
  test("maps globs to durations, in their order", () => {
    const text =
      '# ours\nmail: &short 30 # people wait\n"sidekiq/*": 2.5\n42: 10\nnull: *short\nwithin_1_day: none\n"*": 10m\n';
    expect(parseObjectives(text)).toEqual([
      { glob: "mail", objectiveMs: 30_000 },
      { glob: "sidekiq/*", objectiveMs: 2_500 },
      { glob: "42", objectiveMs: 10_000 },
      { glob: "null", objectiveMs: 30_000 },
      { glob: "within_1_day", objectiveMs: null },
      { glob: "*", objectiveMs: 600_000 },
    ]);
  });

  test("takes any number of aliases", () => {
    const names = Array.from({ length: 1_000 }, (_, i) => `q${i}`);
    const text = `first: &short 30\n${names.map((name) => `${name}: *short\n`).join("")}`;
    expect(parseObjectives(text)).toHaveLength(1_001);
  });

  test.each([
    {
      text: "",
      expected: "line 1: expected a map",
      why: "half a file would take all objectives away",
    },
    { text: "# none yet", expected: "line 1: expected a map", why: "nothing but a comment" },
    { text: "- mail", expected: "line 1: expected a map", why: "a list" },
    { text: "mail", expected: "line 1: expected a map", why: "a word" },
    {
      text: "a: 1\n*: 30",
      expected: 'line 2: expected quotes around a text that begins with "*"',
      why: "YAML",
    },
    { text: "a: 1\nb: soon", expected: "line 2: b: expected seconds", why: "no number" },
    { text: "a: -1", expected: "line 1: a: expected seconds", why: "before it came" },
    { text: "a: 0", expected: "line 1: a: expected seconds", why: "at once" },
    { text: "a: 1e3", expected: "line 1: a: expected seconds", why: "no exponents" },
    { text: "a:", expected: "line 1: a: expected seconds", why: "nothing" },
    { text: "a: [1]", expected: "line 1: a: expected seconds", why: "a list" },
    { text: '"": 3', expected: "line 1: expected a glob", why: "no queue has no name" },
    { text: "? [a]\n: 3", expected: "line 1: expected a text before the colon", why: "a list is no name" },
    { text: "a: 1\na: 2", expected: "line 2: Map keys must be unique", why: "the second would never count" },
    {
      text: "a: 1\n---\nb: 2",
      expected: "line 2: Source contains multiple documents",
      why: "two files in one",
    },
    { text: 'a: 1\nb: "2', expected: "line 2: Missing closing", why: "no YAML" },
    { text: "a: !weeks 3", expected: "line 1: Unresolved tag", why: "what it would mean is not known" },
    { text: 'a: x\nb: "2', expected: /^line 2: Missing/, why: "what is no YAML may hide the rest" },
    { text: "a: x\nb: 1\nc: y", expected: /^line 1: a: .*; line 3: c: /, why: "all mistakes at once" },
  ])("is refused: $why", ({ text, expected }) => {
    expect(() => parseObjectives(text)).toThrow(expected);
  });
});

describe("objectives", () => {
  let dir: string;
  let path: string;
  let objectives: Objectives;
  const logger = recordingLogger();
  /** All at once: a file that is being written would look wrong. */
  async function put(text: string): Promise<void> {
    await writeFile(`${path}.new`, text);
    await rename(`${path}.new`, path);
  }

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "ql-objectives-"));
    path = join(dir, "objectives.yaml");
    logger.lines.length = 0;
    objectives = createObjectives({ path, logger, everyMs: 5 });
  });
  afterEach(async () => {
    await objectives.stop();
    await rm(dir, { recursive: true });
  });

  test("are those of the first glob that fits, and else those in names", async () => {
    await put('"mail/*": 5\n"mail/slow*": 60\nwithin_1_day: none\n"within_2_*": 7\n');
    await objectives.start();
    const objectiveOf = (queue: string) => objectives.objectiveMsOf(queue);
    expect(objectiveOf("mail/slow")).toBe(5_000);
    expect(objectiveOf("within_2_days")).toBe(7_000);
    expect(objectiveOf("within_1_day")).toBeNull();
    expect(objectiveOf("within_3_days")).toBe(3 * 86_400_000);
    expect(objectiveOf("other")).toBeNull();
  });

  test("come from names alone when there is no file", async () => {
    const { objectiveMsOf, start, stop } = createObjectives({ path: null, logger });
    await start();
    expect(objectiveMsOf("latency_30s")).toBe(30_000);
    expect(objectiveMsOf("mail")).toBeNull();
    await stop();
  });

  test("keep the server from starting when the file is missing or wrong", async () => {
    await expect(objectives.start()).rejects.toThrow(StartError);
    await put("mail: soon");
    await expect(objectives.start()).rejects.toThrow(/^OBJECTIVES_FILE: .*line 1: mail: expected seconds/);
  });

  test("are read again when the file changes, and stay while it is wrong or gone, which is said once", async () => {
    await put("mail: 30\n");
    await objectives.start();
    await put("mail: 40\n");
    await expect.poll(() => objectives.objectiveMsOf("mail")).toBe(40_000);
    const errors = () => logger.lines.filter(({ level }) => level === "error");
    await put("mail: 40\nmail: 50");
    await expect.poll(errors).toMatchObject([{ fields: { path, setting: "OBJECTIVES_FILE" } }]);
    await rm(path);
    await expect.poll(() => errors().length).toBe(2);
    expect(objectives.objectiveMsOf("mail")).toBe(40_000);
    await put("mail: 60\n");
    await expect.poll(() => objectives.objectiveMsOf("mail")).toBe(60_000);
    expect(errors()).toHaveLength(2);
  });
});
