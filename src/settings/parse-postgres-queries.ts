import { z } from "zod";
import { createYamlReader, type Place, type YamlReader } from "./yaml-reader.ts";

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

const keys = ["select", "database", "accuracy", "max_cost"] as const;

/** Comments, in which a keyword means nothing. */
const leading = /^(?:\s|--[^\n]*(?:\n|$)|\/\*[\s\S]*?\*\/)*/;

const select = z
  .string()
  .transform((text) => text.replace(/(?:\s|;)+$/, ""))
  .refine((text) => /^(select|with)\b/i.test(text.replace(leading, "")), {
    error: "expected a SELECT, which may begin with WITH",
  })
  .refine((text) => text.length <= 20_000, { error: "expected a SELECT of at most 20000 characters" });

/** What a query may say, as texts of the file. */
const fields = z.object({
  select,
  database: z
    .string()
    .regex(/^[a-z0-9._+-]{1,200}$/, {
      error: "expected the name of a database in POSTGRES_URL: the value of ?as=",
    })
    .optional(),
  accuracy: z
    .enum(["EXACT", "ESTIMATED", "LOWER_BOUND"], { error: "expected EXACT, ESTIMATED or LOWER_BOUND" })
    .default("ESTIMATED"),
  max_cost: z
    .string()
    .regex(/^[1-9]\d{0,8}$/, { error: "expected a whole number from 1 to 999999999: the planner's cost" })
    .transform(Number)
    .default(usualMaxCost),
});

/**
 * Reads a YAML map of names to SELECTs, or to maps with the SELECT and more.
 *
 * @throws Error that lists all mistakes, each with its line.
 */
export function parsePostgresQueries(text: string): readonly PostgresQuery[] {
  const reader = createYamlReader(text);
  const entries = reader.problems().length > 0 ? [] : (reader.entries(reader.root) ?? []);
  if (entries.length > maxQueries)
    reader.wrong(reader.root, `expected at most ${maxQueries} queries, found ${entries.length}`);
  const queries = entries.slice(0, maxQueries).map(([name, place]) => readQuery(reader, name, place));
  const problems = reader.problems();
  if (problems.length > 0) throw new Error(problems.join("; "));
  return queries.filter((query) => query !== null);
}

function readQuery(reader: YamlReader, name: string, place: Place): PostgresQuery | null {
  if (!/^[a-z0-9._-]{1,50}$/.test(name) || name === "events")
    reader.wrong(
      { ...place, path: "" },
      `expected a name of 1 to 50 small letters, digits or any of . _ - but "events", found "${name}"`,
    );
  const places: Partial<Record<(typeof keys)[number], Place>> | null = reader.isMap(place)
    ? reader.fields(place, keys)
    : { select: place };
  if (places === null) return null;
  const texts = Object.fromEntries(Object.entries(places).map(([key, each]) => [key, reader.text(each)]));
  const { data, error } = fields.safeParse(texts);
  for (const { path, message } of error?.issues ?? []) {
    const key = path[0] as (typeof keys)[number];
    reader.wrong(places[key] ?? place, places[key] === undefined ? "expected select: a SELECT" : message);
  }
  if (data === undefined || places.select === undefined) return null;
  const { line, isByLine } = reader.position(places.select);
  const { database = null, accuracy, max_cost: maxCost } = data;
  return { name, select: data.select, file: "", line, isByLine, database, accuracy, maxCost };
}
