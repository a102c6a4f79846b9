import type { AppError } from "./errors.ts";

/** By name. */
export type Variables = Readonly<Record<string, unknown>>;

/** One operation as it was sent; the document is parsed and valid. `Document` is GraphQL's own type for it. */
export interface Operation<Document> {
  readonly document: Document;
  readonly operationName: string | null;
  readonly variables: Variables;
  /** The same for queries that ask the same. Absent: it is no query. */
  readonly key?: string;
}

/** In the place of an operation whose document is not valid: validating it took time, which is charged. */
export interface InvalidDocument<Document> {
  readonly invalid: Document;
}

/** What is left in a client's token bucket, in the shape that Shopify's clients read. Points, or events. */
export interface ThrottleStatus {
  readonly maximumAvailable: number;
  readonly currentlyAvailable: number;
  /** How much is refilled in each second, continuously. */
  readonly restoreRate: number;
}

/** What one operation cost: becomes `extensions.cost` of its answer. Points. */
export interface CostReport {
  readonly requestedQueryCost: number;
  /** What was charged; null when the request was refused, and cost nothing. */
  readonly actualQueryCost: number | null;
  readonly throttleStatus: ThrottleStatus;
  /** Only of an operation that records events. */
  readonly recording?: RecordingReport;
}

/** Recording has a budget of its own, in events, so that it does not use up the points for reading. */
export interface RecordingReport {
  readonly requestedCost: number;
  /** What was charged; null when the request was refused. */
  readonly actualCost: number | null;
  readonly throttleStatus: ThrottleStatus;
}

export interface Admission {
  /** Why nothing of the request may run; null: all of it may. */
  readonly refusal: AppError | null;
  /**
   * One for each operation, in order. Where Redis was not asked, or did not answer, `throttleStatus` is what this process
   * knows.
   */
  readonly costs: readonly CostReport[];
  /** Of each operation that may run, in order, the variables as resolvers get them: they need not be coerced again. */
  readonly variables: readonly (Variables | null)[];
}

/** What a client may do: read queues, record events, administer queues. No scope includes another. */
export const scopes = ["read", "record", "admin"] as const;
export type Scope = (typeof scopes)[number];

/** Who a request is charged to, and what it may do. */
export interface Client {
  /** Names the token, or else the address: limits are counted by it. */
  readonly id: string;
  readonly scopes: ReadonlySet<Scope>;
}

/** A client that is known by a secret, of which only the hash is kept. */
export interface Token {
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
  /** SHA-256. */
  readonly hash: Buffer;
}

/** What a request says about its client, over HTTP or a WebSocket. Only the address is certain. */
export interface Caller {
  /** Address of the other end of the socket. */
  readonly address: string | undefined;
  /** `X-Forwarded-For` as it came. */
  readonly forwardedFor: string | undefined;
  /** `Authorization` as it came. */
  readonly authorization: string | undefined;
}

/** @throws AppError UNAUTHENTICATED when a token is required, and this one has none that is known. */
export type Identify = (caller: Caller) => Client;

/**
 * Decides, before anything of a request runs, whether all of it may: one HTTP request with one operation or a batch of
 * them, or one operation on a WebSocket. A document that is not valid is charged for its size; `null` stands for an operation
 * that was refused before it was validated, which is free.
 */
export type Admit<Document> = (
  client: Client,
  operations: readonly (Operation<Document> | InvalidDocument<Document> | null)[],
) => Promise<Admission>;
