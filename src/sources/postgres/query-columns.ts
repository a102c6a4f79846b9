import { closest } from "../../settings/closest.ts";
import type { PostgresColumn } from "./connection.ts";

/** The numbers of built-in types in `pg_type`, which are the same in every database. */
const types = {
  text: [19, 25, 1042, 1043],
  timestamptz: [1184],
  number: [20, 21, 23, 700, 701, 1700],
  whole: [20, 21, 23, 1700],
  boolean: [16],
} as const;

/** What the columns of a SELECT have to be: their types, and what to write where they are others. */
const columns = {
  queue: { type: "text", otherwise: "expected text: write queue::text" },
  oldest: {
    type: "timestamptz",
    otherwise: "expected timestamptz: of a timestamp in UTC, write oldest AT TIME ZONE 'UTC'",
  },
  age_seconds: {
    type: "number",
    otherwise: "expected a number: of an interval, write extract(epoch FROM age)",
  },
  depth: { type: "whole", otherwise: "expected a whole number, as count(*) is" },
  depth_is_lower_bound: { type: "boolean", otherwise: "expected a boolean" },
  scheduled: { type: "whole", otherwise: "expected a whole number, as count(*) is" },
  paused: { type: "boolean", otherwise: "expected a boolean" },
} as const;
const names = Object.keys(columns) as readonly (keyof typeof columns)[];

/** What is wrong with the columns of a SELECT; null when nothing is. */
export function columnsProblem(found: readonly PostgresColumn[]): string | null {
  for (const [at, { name, typeId }] of found.entries()) {
    const known = names.find((each) => each === name);
    if (known === undefined) {
      const meant = closest(name, names);
      const hint = meant === null ? "" : ` (did you mean ${meant}?)`;
      return `expected the columns ${names.join(", ")}, found "${name}"${hint}`;
    }
    if (found.findIndex((each) => each.name === name) !== at) return `expected the column ${name} once`;
    const { type, otherwise } = columns[known];
    if (!(types[type] as readonly number[]).includes(typeId)) return `column ${name}: ${otherwise}`;
  }
  const has = (name: string) => found.some((each) => each.name === name);
  const missing = ["queue", "depth"].find((name) => !has(name));
  if (missing !== undefined) return `expected a column ${missing}`;
  if (has("oldest") === has("age_seconds")) return "expected one of the columns oldest and age_seconds";
  return null;
}
