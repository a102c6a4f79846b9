import type { Logger } from "../runtime/logger.ts";
import { parseInWorker } from "../runtime/parse-in-worker.ts";
import { createReloadableFile, type ReloadableFile } from "../runtime/reloadable-file.ts";
import type { PostgresQuery } from "./parse-postgres-queries.ts";
import { prefixesOf, type SourceConfig } from "./source-urls.ts";

/** Knows the SELECTs in a file, and reads it again when it changes; runtime/reloadable-file.ts has the rules. */
export function createPostgresQueriesFile(
  path: string,
  sources: readonly SourceConfig[],
  logger: Logger,
): ReloadableFile<readonly PostgresQuery[]> {
  const parse = parseInWorker<readonly PostgresQuery[]>({
    module: new URL("./parse-postgres-queries.ts", import.meta.url),
    name: "parsePostgresQueries",
  });
  return createReloadableFile<readonly PostgresQuery[]>({
    path,
    setting: "POSTGRES_QUERY_FILE",
    hint: "docs/postgres.md has an example of such a file",
    maxBytes: 256_000,
    async parse(text) {
      const queries = await parse(text);
      const problems = queries.flatMap((query) => wiringProblems(query, sources));
      if (problems.length > 0) throw new Error(problems.join("; "));
      return queries.map((query) => ({ ...query, file: path }));
    },
    initial: [],
    logger,
    onChange: (queries) => logger.info({ queries: queries.length }, "read Postgres queries again"),
  });
}

/** What is wrong with a query beside the sources of this server. */
export function wiringProblems(
  { name, line, database }: PostgresQuery,
  sources: readonly SourceConfig[],
): readonly string[] {
  const databases = sources.filter(({ kind }) => kind === "postgres").map((source) => source.name);
  const named = databases.join(", ");
  const problems = [
    sources.flatMap(prefixesOf).includes(name) &&
      `expected another name than "${name}": a source has it; choose one, or set ?as= of that source`,
    database === null &&
      databases.length !== 1 &&
      `expected database: one of ${named}, the names behind ?as=`,
    database !== null &&
      !databases.includes(database) &&
      `expected database: one of ${named}, found "${database}"`,
  ];
  return problems
    .filter((problem) => problem !== false)
    .map((problem) => `line ${line}: ${name}: ${problem}`);
}
