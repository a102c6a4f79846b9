import { z } from "zod";
import { textOf } from "./fields.ts";
import { parseYaml, yamlFields, yamlMap } from "./parse-yaml.ts";

/** A SELECT of the operator's, which says how queues stand that no known job system has. */
export interface PostgresQuery {
  /** What stands before the slash in the names of its queues. */
  readonly name: string;
  readonly select: string;
  /** The file, for messages. */
  readonly file: string;
  /** The line of the file in which it begins, and whether the lines that follow are those of the SELECT. */
  readonly line: number;
  readonly isByLine: boolean;
  /** The name of the source that it is asked of; null: there is only one. */
  readonly database: string | null;
  readonly accuracy: "EXACT" | "ESTIMATED" | "LOWER_BOUND";
  /** It is refused when the planner estimates more. */
  readonly maxCost: number;
}

const maxQueries = 50;
/** The planner's cost of 5,000 pages read one after the other, or of some 200,000 rows. */
const usualMaxCost = 5_000;

/** Comments, in which a keyword means nothing. */
const leading = /^(?:\s|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*/;

const selectExpected = "expected a SELECT, which may begin with WITH";
const select = z
  .string(selectExpected)
  .transform((text) => text.replace(/(?:\s|;)+$/, ""))
  .refine((text) => /^(select|with)\b/i.test(text.replace(leading, "")), selectExpected)
  .refine((text) => text.length <= 20_000, "expected a SELECT of at most 20000 characters");

const fields = yamlFields({
  select,
  database: textOf(
    /^[a-z0-9._+-]{1,200}$/,
    "expected the name of a database in POSTGRES_URL: the value of ?as=",
  ).optional(),
  accuracy: z
    .enum(["EXACT", "ESTIMATED", "LOWER_BOUND"], "expected EXACT, ESTIMATED or LOWER_BOUND")
    .default("ESTIMATED"),
  max_cost: textOf(/^[1-9]\d{0,8}$/, "expected a whole number from 1 to 999999999: the planner's cost")
    .transform(Number)
    .default(usualMaxCost),
});

const name = textOf(
  /^(?!events$)[a-z0-9._-]{1,50}$/,
  'expected a name of 1 to 50 small letters, digits or any of . _ - but "events"',
);
const fileOfQueries = yamlMap(
  name,
  z.preprocess((value) => (value instanceof Map ? value : new Map([["select", value]])), fields),
).max(maxQueries, `expected at most ${maxQueries} queries`);

/**
 * Reads a YAML map of names to SELECTs, or to maps with the SELECT and more.
 *
 * @throws Error that lists all mistakes, each with its line.
 */
export function parsePostgresQueries(text: string): readonly PostgresQuery[] {
  const { data, lineOf } = parseYaml(text, fileOfQueries);
  return [...data].map(([name, { database = null, max_cost: maxCost, ...query }]) => ({
    ...{ name, file: "", ...lineOf([name, "select"]) },
    ...{ ...query, database, maxCost },
  }));
}
