import { DatabaseError } from "pg";
import { messageOf } from "../../core/errors.ts";
import type { Observation } from "../../core/observation.ts";
import { monotonicClock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import { createOutageLog } from "../../runtime/outage-log.ts";
import type { PostgresQuery } from "../../settings/parse-postgres-queries.ts";
import { explain, type PostgresAnswer } from "./connection.ts";
import { createNameFilter, maxQueues } from "./name-filter.ts";
import { columnsProblem } from "./query-columns.ts";
import { type QueryRow, standingOf } from "./query-row.ts";
import { type PostgresQueries, QueryRefusal, type QueueReader } from "./queue-reader.ts";
import { ageMs } from "./system.ts";

export interface QueryReaderOptions {
  readonly query: PostgresQuery;
  readonly logger: Logger;
  /** After the query was refused, for how long it is not asked again, in ms. */
  readonly retryMs: number;
  /** Has its name while it is refused. */
  readonly refused: Set<string>;
}

interface Queue {
  readonly observation: Observation;
  readonly seenAtMs: number;
  readonly unknownSinceMs: number | null;
}

/** For how long a queue without a row is an empty one. */
const rememberedMs = 600_000;
const before = "SELECT answer.* FROM (\n";

/**
 * Asks one SELECT of the operator's, in a transaction that can only read. It is checked before it is first asked, and again after
 * it failed: it is one SELECT, its columns have the right names and types, and its plan costs no more than it may. While it is
 * refused its queues are not reported.
 */
export function createQueryReader(options: QueryReaderOptions): QueueReader {
  const { query, logger, retryMs, refused } = options;
  const { name: source, select, accuracy } = query;
  const outage = createOutageLog({
    logger,
    begins: "Postgres query refused",
    ends: "Postgres query accepted again",
    fields: { source },
  });
  const queues = new Map<string, Queue>();
  const isShown = createNameFilter(source, queues, logger);
  /** The statement that was checked; null: none was, or it failed since. */
  let checked: string | null = null;
  let refusedUntilMs = Number.NEGATIVE_INFINITY;
  let isReported = false;

  async function check({ costOf, asPlanned }: PostgresQueries): Promise<string> {
    const wrapped = (limit: number) => `${before}${select}\n) AS answer LIMIT ${limit}`;
    const cost = await costOf(wrapped(maxQueues + 1));
    if (cost > query.maxCost)
      throw new QueryRefusal(
        `its plan costs ${Math.round(cost)}, the limit is ${query.maxCost}: see EXPLAIN; give it an index or a LIMIT, or set max_cost`,
      );
    const { columns } = await asPlanned(wrapped(0));
    assertColumns({ columns });
    const hasTime = columns.some(({ name }) => name === "oldest");
    const age = hasTime ? ageMs("answer.oldest") : "answer.age_seconds::float8 * 1000";
    return wrapped(maxQueues + 1).replace("answer.*", `answer.*, ${age}`);
  }

  function add(row: QueryRow, base: Pick<Observation, "readAtMs" | "uncertaintyMs">): void {
    const { readAtMs } = base;
    const standing = standingOf(row, accuracy);
    const known = queues.get(row.queue);
    const unknownSinceMs = standing.accuracy === "UNKNOWN" ? (known?.unknownSinceMs ?? readAtMs) : null;
    const headAgeMs = unknownSinceMs === null ? standing.headAgeMs : readAtMs - unknownSinceMs;
    const observation = { ...base, ...standing, queue: row.queue, headAgeMs };
    queues.set(row.queue, { observation, seenAtMs: readAtMs, unknownSinceMs });
  }

  return {
    source,
    isFound: () => monotonicClock.now() >= refusedUntilMs,
    async readHeads(queries) {
      isReported = false;
      checked ??= await check(queries);
      const sentAtMs = monotonicClock.now();
      const { rows, columns } = await queries.asPlanned(checked);
      const uncertaintyMs = (monotonicClock.now() - sentAtMs) / 2;
      const base = { uncertaintyMs, readAtMs: sentAtMs + uncertaintyMs };
      // A table may have been changed since the check. The last column is the age, which we added.
      assertColumns({ columns: columns.slice(0, -1) });
      const ageColumn = columns.at(-1)?.name ?? "";
      const found = rows.map(
        (row): QueryRow => ({ ...row, queue: String(row.queue ?? ""), age: row[ageColumn] }),
      );
      if (new Set(found.map(({ queue }) => queue)).size < found.length)
        throw new QueryRefusal("expected one row for each queue, found two of one: use GROUP BY queue");
      for (const row of found) if (isShown(row.queue)) add(row, base);
      for (const [queue, { seenAtMs }] of queues) {
        if (seenAtMs === base.readAtMs) continue;
        if (base.readAtMs - seenAtMs > rememberedMs) queues.delete(queue);
        else {
          add({ queue, age: null, depth: 0 }, base);
          const known = queues.get(queue);
          if (known !== undefined) queues.set(queue, { ...known, seenAtMs });
        }
      }
      isReported = true;
      refused.delete(source);
      outage.recovered();
    },
    readDepths: async () => {},
    observations: () => (isReported ? [...queues.values()].map(({ observation }) => observation) : null),
    failed(error) {
      checked = null;
      refused.add(source);
      refusedUntilMs = monotonicClock.now() + retryMs;
      outage.failed(
        new Error(`${query.file}, line ${lineOf(error, query)}: ${messageOf(error)}`, { cause: error }),
      );
    },
  };
}

function assertColumns({ columns }: Pick<PostgresAnswer, "columns">): void {
  const problem = columnsProblem(columns);
  if (problem !== null) throw new QueryRefusal(problem);
}

/** The line of the file that an error is about: of the word that the server names, else the first of the SELECT. */
function lineOf(error: unknown, { select, line, isByLine }: PostgresQuery): number {
  if (!isByLine || !(error instanceof DatabaseError) || error.position === undefined) return line;
  const at = Number(error.position) - 1 - explain.length - before.length;
  return line + select.slice(0, Math.max(0, at)).split("\n").length - 1;
}
