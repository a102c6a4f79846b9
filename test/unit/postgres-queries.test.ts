import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Accuracy } from "../../src/core/snapshot.ts";
import { parsePostgresQueries } from "../../src/settings/parse-postgres-queries.ts";
import { createPostgresQueriesFile, wiringProblems } from "../../src/settings/postgres-queries-file.ts";
import type { SourceConfig } from "../../src/settings/source-urls.ts";
import { columnsProblem } from "../../src/sources/postgres/query-columns.ts";
import { standingOf } from "../../src/sources/postgres/query-row.ts";
import { silentLogger } from "../support/logger.ts";

const common = { file: "", database: null, accuracy: "ESTIMATED", maxCost: 5_000 } as const;

describe("a file of queries", () => {
  test("maps names to SELECTs, or to maps with one", () => {
    const text = [
      "orders: |",
      "  -- those that are open",
      "  SELECT 1",
      "",
      "mail: SELECT 2;",
      "prints:",
      "  database: main",
      "  accuracy: EXACT",
      "  max_cost: 20000",
      "  select: |",
      "    WITH x AS (SELECT 3)",
      "    SELECT * FROM x",
      "",
    ].join("\n");
    expect(parsePostgresQueries(text)).toEqual([
      { ...common, name: "orders", select: "-- those that are open\nSELECT 1", line: 2, isByLine: true },
      { ...common, name: "mail", select: "SELECT 2", line: 5, isByLine: false },
      {
        ...{ file: "", name: "prints", database: "main", accuracy: "EXACT", maxCost: 20_000 },
        ...{ select: "WITH x AS (SELECT 3)\nSELECT * FROM x", line: 11, isByLine: true },
      },
    ]);
  });

  test.each([
    {
      text: "a: DELETE FROM b",
      problem: "line 1: a: expected a SELECT, which may begin with WITH",
      why: "a write",
    },
    { text: "a: ''", problem: "line 1: a: expected a SELECT, which may begin with WITH", why: "nothing" },
    { text: "a:", problem: "line 1: a: expected a SELECT, which may begin with WITH", why: "no value" },
    {
      text: "a:\n  - SELECT 1",
      problem: "line 1: a: expected a SELECT, which may begin with WITH",
      why: "a list",
    },
    {
      text: "a: {}",
      problem: "line 1: a.select: expected a SELECT, which may begin with WITH",
      why: "a map without it",
    },
    {
      text: "\na:\n  select: SELECT 1\n  databse: x",
      problem: 'line 4: a: expected select, database, accuracy, max_cost, found "databse"',
      why: "an unknown key",
    },
    {
      text: "a:\n  select: SELECT 1\n  accuracy: exact",
      problem: "line 3: a.accuracy: expected EXACT, ESTIMATED or LOWER_BOUND",
      why: "another accuracy",
    },
    {
      text: "a:\n  select: SELECT 1\n  max_cost: 0",
      problem: "line 3: a.max_cost: expected a whole number from 1 to 999999999: the planner's cost",
      why: "no cost",
    },
    {
      text: "A b: SELECT 1",
      problem: 'line 1: A b: expected a name of 1 to 50 small letters, digits or any of . _ - but "events"',
      why: "a name that cannot stand before a slash",
    },
    {
      text: "a: SELECT 1\na: SELECT 2",
      problem: 'line 2: Map keys must be unique, found "a" again',
      why: "one name twice",
    },
    { text: "- a", problem: "line 1: expected a map, lines of KEY: VALUE", why: "no map" },
  ])("is refused with its line: $why", ({ text, problem }) => {
    expect(() => parsePostgresQueries(text)).toThrow(expect.objectContaining({ message: problem }));
  });

  const postgres = (name: string): SourceConfig => ({
    ...{ kind: "postgres", name, url: "" },
    prefixes: { que: `${name}.que` },
  });
  const query = { ...common, name: "a", select: "SELECT 1", line: 7, isByLine: true } as const;

  test.each([
    { given: {}, sources: ["one"], problems: [], why: "there is one database" },
    { given: { database: "one" }, sources: ["one", "two"], problems: [], why: "it says which" },
    {
      ...{ given: {}, sources: ["one", "two"] },
      problems: ["line 7: a: expected database: one of one, two, the names behind ?as="],
      why: "there are two",
    },
    {
      ...{ given: { database: "three" }, sources: ["one"] },
      problems: ['line 7: a: expected database: one of one, found "three"'],
      why: "there is no such one",
    },
    {
      ...{ given: { name: "one.que" }, sources: ["one"] },
      problems: [
        'line 7: one.que: expected another name than "one.que": a source has it; choose one, or set ?as= of that source',
      ],
      why: "its queues would be those of a job system",
    },
  ])("is compared with the databases: $why", ({ given, sources, problems }) => {
    expect(wiringProblems({ ...query, ...given }, sources.map(postgres))).toEqual(problems);
  });

  test("that is wrong keeps the server from starting, with the file and the line", async () => {
    const directory = await mkdtemp(join(tmpdir(), "ql-queries-"));
    onTestFinished(() => rm(directory, { recursive: true }));
    const path = join(directory, "queries.yml");
    await writeFile(path, "a: |\n  SELECT 1\nb: UPDATE c SET d = 1\n");
    const file = createPostgresQueriesFile(path, [postgres("one")], silentLogger);
    await expect(file.start()).rejects.toThrow(
      `POSTGRES_QUERY_FILE: ${path}: line 3: b: expected a SELECT, which may begin with WITH`,
    );
  });
});

describe("the columns of a query", () => {
  const queue = { name: "queue", typeId: 25 };
  const oldest = { name: "oldest", typeId: 1184 };
  const depth = { name: "depth", typeId: 20 };
  const all = "queue, oldest, age_seconds, depth, depth_is_lower_bound, scheduled, paused";

  test.each([
    { columns: [queue, oldest, depth], problem: null, why: "the least" },
    {
      columns: [depth, { name: "age_seconds", typeId: 1700 }, { ...queue, typeId: 1043 }],
      problem: null,
      why: "any order",
    },
    { columns: [queue, oldest], problem: "expected a column depth", why: "how many there are" },
    { columns: [oldest, depth], problem: "expected a column queue", why: "whose it is" },
    {
      columns: [queue, depth],
      problem: "expected one of the columns oldest and age_seconds",
      why: "neither",
    },
    {
      columns: [queue, oldest, depth, { name: "age_seconds", typeId: 20 }],
      problem: "expected one of the columns oldest and age_seconds",
      why: "both",
    },
    {
      columns: [queue, { ...oldest, typeId: 1114 }, depth],
      problem: "column oldest: expected timestamptz: of a timestamp in UTC, write oldest AT TIME ZONE 'UTC'",
      why: "a time without its zone may be hours off",
    },
    {
      columns: [queue, { name: "age_seconds", typeId: 1186 }, depth],
      problem: "column age_seconds: expected a number: of an interval, write extract(epoch FROM age)",
      why: "an interval",
    },
    {
      columns: [{ ...queue, typeId: 23 }, oldest, depth],
      problem: "column queue: expected text: write queue::text",
      why: "a number",
    },
    {
      columns: [queue, oldest, { ...depth, typeId: 701 }],
      problem: "column depth: expected a whole number, as count(*) is",
      why: "a float",
    },
    {
      columns: [queue, oldest, depth, { name: "paused", typeId: 25 }],
      problem: "column paused: expected a boolean",
      why: "a text",
    },
    { columns: [queue, oldest, depth, depth], problem: "expected the column depth once", why: "twice" },
    {
      columns: [queue, { ...oldest, name: "oldset" }, depth],
      problem: `expected the columns ${all}, found "oldset" (did you mean oldest?)`,
      why: "misspelt",
    },
  ])("$why: $problem", ({ columns, problem }) => {
    expect(columnsProblem(columns)).toBe(problem);
  });
});

describe("a row of a query", () => {
  const empty = { headAgeMs: null, accuracy: "EXACT", depth: 0 };
  const unknown = { accuracy: "UNKNOWN", depth: null };
  test.each([
    {
      row: { age: 5, depth: "3" },
      expected: { headAgeMs: 5, accuracy: "EXACT", depth: 3 },
      why: "as it is; a bigint is a text",
    },
    { row: { age: null, depth: "0" }, expected: empty, why: "no job waits" },
    { row: { age: null, depth: "3" }, expected: unknown, why: "jobs wait, but not since a time" },
    { row: { age: null, depth: null }, expected: unknown, why: "nothing is known" },
    { row: { age: 5, depth: 0 }, expected: unknown, why: "none waits, but since a time" },
    {
      row: { age: 5, depth: null },
      expected: { headAgeMs: 5, accuracy: "EXACT", depth: null },
      why: "an age alone is known",
    },
    {
      row: { age: -1_000, depth: 1 },
      expected: { headAgeMs: 0, accuracy: "EXACT", depth: 1 },
      why: "a producer's clock is ahead",
    },
    {
      row: { age: -3_600_000, depth: 1 },
      expected: unknown,
      why: "it would not wait before an hour has passed",
    },
    { row: { age: Number.POSITIVE_INFINITY, depth: 1 }, expected: unknown, why: "-infinity" },
    { row: { age: "NaN", depth: 1 }, expected: unknown, why: "no number" },
    { row: { age: 5, depth: -1 }, expected: unknown, why: "fewer than none" },
    { row: { age: 5, depth: "1.5" }, expected: unknown, why: "half of a job" },
    { row: { age: 5, depth: "2147483648" }, expected: unknown, why: "more than GraphQL's Int holds" },
    {
      row: { age: 5, depth: 10_000, depth_is_lower_bound: true },
      expected: { headAgeMs: 5, accuracy: "EXACT", depth: 10_000, depthIsLowerBound: true },
      why: "it counted up to there",
    },
    {
      row: { age: 5, depth: 1, depth_is_lower_bound: true },
      expected: { headAgeMs: 5, accuracy: "EXACT", depth: null },
      why: "at least one says nothing",
    },
    {
      row: { age: 5, depth: 1, scheduled: "7", paused: true },
      expected: { depth: 1, scheduled: 7, paused: true },
      why: "what may be there",
    },
    {
      row: { age: 5, depth: 1, scheduled: -7, paused: null },
      expected: { scheduled: null, paused: false },
      why: "no number of jobs",
    },
  ])("$row: $why", ({ row, expected }) => {
    expect(standingOf({ queue: "a", ...row }, "EXACT" as Accuracy)).toMatchObject(expected);
  });
});
