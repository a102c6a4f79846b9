import type { Observation } from "../../core/observation.ts";
import type { PostgresAnswer } from "./connection.ts";

/** What a reader may ask the database. Each counts as work of the reader. */
export interface PostgresQueries {
  /** Reads by an index whatever the planner guesses: see `settings` of the connection. */
  byIndex(statement: string): Promise<PostgresAnswer>;
  /** Reads as the planner likes. */
  asPlanned(statement: string): Promise<PostgresAnswer>;
  /** The estimated cost of one SELECT, which is refused when it is more than one statement. */
  costOf(statement: string): Promise<number>;
}

/** Keeps what is known of the queues of one job system, or of one SELECT of the operator's. */
export interface QueueReader {
  /** What stands before the slash in the names of its queues. */
  readonly source: string;
  /** Whether there is something to read. */
  isFound(): boolean;
  readHeads(queries: PostgresQueries): Promise<void>;
  /** Counts the jobs of some queues: those that were counted longest ago. */
  readDepths(queries: PostgresQueries): Promise<void>;
  /** Finds the jobs that later ones overtook, in some queues. */
  readOvertaken?(queries: PostgresQueries): Promise<void>;
  /** All queues, as they were read last; null when that is not to be reported. */
  observations(): readonly Observation[] | null;
  /** What it has said of its queues is stored. */
  reported?(): void;
  failed(error: unknown): void;
}

/** What a SELECT is, or answers, is not what it has to be. */
export class QueryRefusal extends Error {}
