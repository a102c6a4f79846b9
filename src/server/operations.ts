import type { DocumentNode, GraphQLError, OperationTypeNode } from "graphql";
import type { Admit, Client, CostReport, Operation, Variables } from "../core/admission.ts";
import type { CpuShare } from "../core/cpu-share.ts";
import type { Span } from "../core/tracing.ts";
import type { TrustedDocuments } from "../core/trusted-documents.ts";
import { monotonicClock } from "../runtime/clock.ts";
import { boundErrors, boundResult } from "./bounded-errors.ts";
import { type EncodedResult, encodeResult } from "./encoded-result.ts";
import { createEngine, type EngineOptions } from "./engine.ts";
import type { FairScheduler } from "./fair-scheduler.ts";
import { createPersistedDocuments } from "./persisted-documents.ts";
import { createOperationReader, isValid, type ParsedRequest } from "./read-operations.ts";
import { createRequestDeduplication } from "./request-deduplication.ts";
import type { Sent } from "./sent-request.ts";
import type { Subscription } from "./subscriber.ts";
import {
  createSubscriptionDeduplication,
  type SubscriptionDeduplicationOptions,
} from "./subscription-deduplication.ts";

export interface OperationsOptions extends EngineOptions {
  readonly admit: Admit<DocumentNode>;
  /** What resolvers may use, for one operation of a client. */
  readonly contextOf: (client: Client, share: CpuShare, span?: Span) => object;
  readonly scheduler: FairScheduler;
  /** The only documents that may run. @default null // all may */
  readonly trustedDocuments?: (() => TrustedDocuments) | null;
  /** Whether a document is one of the server's own pages, which may always run. */
  readonly isOwnDocument?: (query: string) => boolean;
  readonly takeSlot: SubscriptionDeduplicationOptions["takeSlot"];
}

/** How a request came. */
export interface Origin {
  /** Of a request by HTTP, how the client prefers a single result. */
  readonly transport: "http" | "sse" | "websocket";
  /** As it came. */
  readonly traceparent: unknown;
}

/** An operation that passed every check and was charged. */
export interface Prepared extends Operation<DocumentNode> {
  readonly client: Client;
  readonly kind: OperationTypeNode;
  /** As resolvers get them. */
  readonly coercedVariables: Variables;
  readonly cost: CostReport | undefined;
  readonly maxErrors: number;
  /** Absent: its trace is not sent. */
  readonly span?: Span;
}

/** An operation that cannot run. */
export interface Invalid {
  readonly errors: readonly GraphQLError[];
  readonly cost: CostReport | undefined;
  /** The CPU time that its request took until it was refused. */
  readonly workMs: number;
}

/** What comes of the operations of a request, in order; or why none of them runs. */
export type Preparation = {
  /** How many operations came as a batch; null: it is none. */
  readonly batchLength: number | null;
  /** When the operations had been read and priced, by the monotonic clock; null: they could not be read. */
  readonly admissionSinceMs: number | null;
} & (
  | { readonly refusal: Invalid; readonly operations?: never }
  | { readonly refusal: null; readonly operations: readonly (Prepared | Invalid)[] }
);

/** The one pipeline of HTTP, server-sent events and WebSockets. */
export interface Operations {
  /**
   * Bounds, parses, validates, authorizes, prices and charges the operations of one request together: all of them may run, or
   * none. Never rejects.
   *
   * @param assertServed throws an AppError for a kind of operation that the transport cannot serve.
   */
  prepare(
    client: Client,
    sent: Sent,
    assertServed: (kind: OperationTypeNode, isBatch: boolean) => void,
    origin: Origin,
  ): Promise<Preparation>;
  /** Runs a query or a mutation. Never rejects. */
  execute(prepared: Prepared): Promise<EncodedResult>;
  /** Opens a subscription. Never rejects. @returns an encoded result when it cannot be opened. */
  subscribe(prepared: Prepared): Promise<Subscription | EncodedResult>;
  /** The errors of an operation that does not run, as a result. */
  refuse(error: unknown): Invalid;
  stop(): Promise<void>;
}

export function createOperations(options: OperationsOptions): Operations {
  const { schema, requestSchema, admit, contextOf, maskError, guard, scheduler, takeSlot } = options;
  const engine = createEngine(options);
  const documents = createPersistedDocuments(options.trustedDocuments ?? null, options.isOwnDocument);
  const reader = createOperationReader(engine, guard, documents);
  const running = createRequestDeduplication<EncodedResult>();
  const subscriptions = createSubscriptionDeduplication({
    ...{ schema, contextOf, maskError, scheduler, takeSlot },
    bounds: guard,
  });

  async function readAndAdmit(
    client: Client,
    request: ParsedRequest,
    assertServed: (kind: OperationTypeNode, isBatch: boolean) => void,
    sinceMs: number,
  ): Promise<Preparation> {
    const { batchLength } = request;
    const all = reader.read(request);
    for (const each of all) if (isValid(each)) assertServed(each.kind, batchLength !== null);
    const admission = admit(
      client,
      all.map((each) => {
        if (isValid(each)) return each.operation;
        return each.document === undefined ? null : { invalid: each.document };
      }),
    );
    const admissionSinceMs = monotonicClock.now();
    const workMs = admissionSinceMs - sinceMs;
    const { refusal, costs, variables } = await admission;
    if (refusal !== null)
      return {
        batchLength,
        admissionSinceMs,
        refusal: { errors: boundErrors([maskError(refusal)], guard), cost: total(costs), workMs },
      };
    const maxErrors = Math.ceil(guard.maxErrors / Math.max(1, all.length));
    return {
      batchLength,
      admissionSinceMs,
      refusal,
      operations: all.map((each, i) => {
        const cost = costs[i];
        if (!isValid(each))
          return { errors: boundErrors(each.errors.map(maskError), { ...guard, maxErrors }), cost, workMs };
        const { kind, operation } = each;
        return { ...operation, client, kind, coercedVariables: variables[i] ?? {}, cost, maxErrors };
      }),
    };
  }

  async function run(prepared: Prepared): Promise<EncodedResult> {
    const { client, kind, document, operationName, coercedVariables, maxErrors, span } = prepared;
    try {
      const result = await scheduler.begin(client.id, () =>
        engine.execute({
          // Introspection would show the scalar in place of an event.
          schema: kind === "query" ? schema : requestSchema,
          document,
          operationName,
          variableValues: coercedVariables,
          contextValue: contextOf(client, { begin: (work) => scheduler.begin(client.id, work) }, span),
        }),
      );
      return scheduler.charge(client.id, () => encodeResult(boundResult(result, { ...guard, maxErrors })));
    } catch (error) {
      return encodeResult({ errors: [maskError(error)] });
    }
  }

  return {
    async prepare(client, sent, assertServed) {
      let batchLength: number | null = null;
      let sinceMs = 0;
      try {
        return await scheduler.begin(client.id, () => {
          sinceMs = monotonicClock.now();
          const request = reader.parse(sent);
          batchLength = request.batchLength;
          return readAndAdmit(client, request, assertServed, sinceMs);
        });
      } catch (error) {
        const workMs = monotonicClock.now() - sinceMs;
        // A request that is refused for its form costs nothing, and asks Redis for nothing.
        const { costs } = await admit(client, [null]);
        const cost = costs.map((each) => ({ ...each, actualQueryCost: null }))[0];
        const refusal = { errors: boundErrors([maskError(error)], guard), cost, workMs };
        return { batchLength, admissionSinceMs: null, refusal };
      }
    },
    execute(prepared) {
      const { client, key } = prepared;
      if (key === undefined) return run(prepared);
      return running.run(key, [...client.scopes].join(), () => run(prepared));
    },
    subscribe: subscriptions.subscribe,
    refuse: (error) => ({ errors: boundErrors([maskError(error)], guard), cost: undefined, workMs: 0 }),
    stop: async () => void (await engine.dispose()),
  };
}

/** The cost of a batch that is refused as a whole. */
function total(costs: readonly CostReport[]): CostReport | undefined {
  const [first] = costs;
  if (first === undefined || costs.length === 1) return first;
  return { ...first, requestedQueryCost: costs.reduce((sum, cost) => sum + cost.requestedQueryCost, 0) };
}
