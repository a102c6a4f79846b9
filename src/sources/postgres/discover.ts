import { escapeIdentifier, escapeLiteral } from "pg";
import type { Row } from "./connection.ts";
import type { FoundSystem, PostgresSystem } from "./system.ts";

interface TableIndex {
  readonly columns: readonly string[];
  /** That a column is not null, or another one; null: it has all rows. */
  readonly condition: "NOT NULL" | "OTHER" | null;
}

export interface Table {
  readonly schema: string;
  readonly name: string;
  readonly columns: readonly string[];
  readonly indexes: readonly TableIndex[];
  readonly isReadable: boolean;
  /** Whether its row security hides all rows from this role. */
  readonly isHidden: boolean;
}

/** A system that is there; or why it cannot be read; null when there is no trace of it. */
export type Discovery = FoundSystem | { readonly problem: string } | null;

/** As it is stored. `pg_get_expr` would wait for a lock on the table. */
const notNull = String.raw`^\(?\{NULLTEST :arg \{VAR [^{}]*\} :nulltesttype 1 [^{}]*\}\)?$`;

/** Asks for the tables of these systems. */
export function discoveryOf(systems: readonly PostgresSystem[], schema: string | null): string {
  const names = systems.flatMap(tablesOf).map(escapeLiteral);
  const condition = schema === null ? "" : `AND n.nspname = ${escapeLiteral(schema)}`;
  return `
    SELECT n.nspname AS schema, c.relname AS name,
      (SELECT array_agg(a.attname::text) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
      (SELECT coalesce(json_agg(json_build_object('columns', coalesce(indexed.columns, '[]'),
          'condition', CASE WHEN i.indpred IS NULL THEN NULL WHEN i.indpred::text ~ '${notNull}' THEN 'NOT NULL' ELSE 'OTHER' END)), '[]')
        FROM pg_index i CROSS JOIN LATERAL (
          SELECT json_agg(a.attname ORDER BY k.n) AS columns FROM unnest(i.indkey) WITH ORDINALITY AS k(attnum, n)
          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum) indexed
        WHERE i.indisvalid AND i.indrelid IN (SELECT c.oid UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = c.oid)) AS indexes,
      has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS is_readable,
      row_security_active(c.oid) AND NOT EXISTS (
        SELECT 1 FROM pg_policy p CROSS JOIN unnest(p.polroles) AS r(role)
        WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd IN ('r', '*')
          AND CASE WHEN r.role = 0 THEN true ELSE pg_has_role(r.role, 'USAGE') END) AS is_hidden
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND c.relname IN (${names}) ${condition} ORDER BY n.nspname`;
}

function tablesOf({ table, needs = [], uses = [] }: PostgresSystem): readonly string[] {
  return [table, ...needs, ...uses];
}

export function tablesIn(rows: readonly Row[]): readonly Table[] {
  return rows.map((row) => ({
    schema: String(row.schema),
    name: String(row.name),
    columns: row.columns as string[],
    indexes: row.indexes as TableIndex[],
    isReadable: row.is_readable === true,
    isHidden: row.is_hidden === true,
  }));
}

/** One system among the tables that were found. In several schemas it is one of them, the first by name. */
export function find(system: PostgresSystem, tables: readonly Table[]): Discovery {
  const { table, columns, needs = [] } = system;
  const schemas = tables
    .filter(({ name, columns: has }) => name === table && columns.every((column) => has.includes(column)))
    .map(({ schema }) => schema);
  const [schema, ...others] = schemas;
  if (schema === undefined) return withoutColumns(system, tables);
  const own = tables.filter((each) => each.schema === schema && tablesOf(system).includes(each.name));
  const readable = new Map(own.filter(({ isReadable }) => isReadable).map((each) => [each.name, each]));
  const missing = [table, ...needs].find((name) => !own.some((each) => each.name === name));
  const quoted = (name: string) => `${escapeIdentifier(schema)}.${escapeIdentifier(name)}`;
  if (missing !== undefined) return { problem: `there is no table ${quoted(missing)}` };
  const unreadable = [table, ...needs].find((name) => !readable.has(name));
  if (unreadable !== undefined)
    return { problem: `GRANT USAGE on the schema and SELECT on ${quoted(unreadable)} to this role` };
  const hidden = [table, ...needs].find((name) => readable.get(name)?.isHidden);
  if (hidden !== undefined)
    return {
      problem: `row security hides ${quoted(hidden)} from this role: give it a policy for SELECT, or BYPASSRLS`,
    };
  if (others.length > 0)
    return {
      problem: `found in the schemas ${schemas.join(", ")}: set one of them by ?schema= for each URL`,
    };
  return {
    table: (name) => (readable.has(name) ? quoted(name) : null),
    type: quoted,
    hasIndex: (name, wanted, allowed) =>
      readable
        .get(name)
        ?.indexes.some(
          ({ columns: has, condition }) =>
            (condition === null || condition === allowed) && wanted.every((column, n) => has[n] === column),
        ) ?? false,
  };
}

/** A table of that name which has most of the columns is that system's, in another version. */
function withoutColumns({ table, columns }: PostgresSystem, tables: readonly Table[]): Discovery {
  for (const { name, schema, columns: has } of tables) {
    const missing = columns.filter((column) => !has.includes(column));
    if (name === table && missing.length <= columns.length / 2)
      return {
        problem: `the table ${schema}.${table} has no column ${missing.join(", ")}: it is of another version`,
      };
  }
  return null;
}
