import { isDeepStrictEqual } from "node:util";
import type { PostgresQuery } from "../../settings/parse-postgres-queries.ts";
import { createQueryReader, type QueryReaderOptions } from "./query-reader.ts";
import type { QueueReader } from "./queue-reader.ts";

export interface QueryReadersOptions extends Omit<QueryReaderOptions, "query"> {
  readonly queries: () => readonly PostgresQuery[];
}

export interface QueryReaders {
  /** Takes over what has changed in the file. @returns the sources that are there no more. */
  update(): readonly string[];
  all(): readonly QueueReader[];
  /** Another process may read them from now on. */
  stop(): void;
}

/** A reader for each query of the file, which stays while its query does. */
export function createQueryReaders({ queries, ...options }: QueryReadersOptions): QueryReaders {
  let readers: readonly { readonly query: PostgresQuery; readonly reader: QueueReader }[] = [];
  let seen: readonly PostgresQuery[] = [];
  return {
    update() {
      const now = queries();
      if (isDeepStrictEqual(now, seen)) return [];
      seen = now;
      const before = readers;
      readers = now.map((query) => {
        const same = before.find((each) => isDeepStrictEqual(each.query, query));
        return same ?? { query, reader: createQueryReader({ ...options, query }) };
      });
      const gone = before
        .map(({ query }) => query.name)
        .filter((name) => !readers.some(({ query }) => query.name === name));
      for (const name of gone) options.refused.delete(name);
      return gone;
    },
    all: () => readers.map(({ reader }) => reader),
    stop() {
      for (const { query } of readers) options.refused.delete(query.name);
    },
  };
}
