import type { PostgresQuery } from "../settings/parse-postgres-queries.ts";
import { prefixesOf, type SourceConfig } from "../settings/source-urls.ts";

/**
 * What stands before the slash in the names of queues that are read: of the job systems, and of the queries in the file as it is now.
 * The same list while the file does not change.
 *
 * @param queries those in the file.
 */
export function createSourceNames(
  sources: readonly SourceConfig[],
  queries: () => readonly PostgresQuery[],
): () => readonly string[] {
  const ofSystems = sources.flatMap(prefixesOf);
  let last: { readonly queries: readonly PostgresQuery[]; readonly names: readonly string[] } | undefined;
  return () => {
    const now = queries();
    if (last?.queries !== now) last = { queries: now, names: [...ofSystems, ...now.map(({ name }) => name)] };
    return last.names;
  };
}
