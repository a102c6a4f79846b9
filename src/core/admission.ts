import type { AppError } from "./errors.ts";

/** One operation as it was sent; the document is parsed and valid. `Document` is GraphQL's own type for it. */
export interface Operation<Document> {
  readonly document: Document;
  readonly operationName: string | null;
  readonly variables: Readonly<Record<string, unknown>>;
}

/** How a client stands, in the shape that Shopify's clients read. Points. */
export interface ThrottleStatus {
  readonly maximumAvailable: number;
  readonly currentlyAvailable: number;
  /** Points a second, on average: they come back all at once when the window ends. */
  readonly restoreRate: number;
}

/** What one operation cost: becomes `extensions.cost` of its answer. Points. */
export interface CostReport {
  readonly requestedQueryCost: number;
  /** What was charged; null when the request was refused, and cost nothing. */
  readonly actualQueryCost: number | null;
  readonly throttleStatus: ThrottleStatus;
}

export interface Admission {
  /** Why nothing of the request may run; null: all of it may. */
  readonly refusal: AppError | null;
  /**
   * One for each operation, in order. Where Redis was not asked, or did not answer, `throttleStatus` is what this process
   * knew last.
   */
  readonly costs: readonly CostReport[];
}

/**
 * Decides, before anything of a request runs, whether all of it may: one HTTP request with one operation or a batch of
 * them, or one operation on a WebSocket. `null` stands for an operation that could not be parsed or is not valid, and will
 * not run.
 */
export type Admit<Document> = (
  client: string,
  operations: readonly (Operation<Document> | null)[],
) => Promise<Admission>;

/** What is known of whoever sent a request, be it over HTTP or a WebSocket. */
export interface Caller {
  /** Address of the other end of the socket. */
  readonly address: string | undefined;
}
