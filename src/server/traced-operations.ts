import { type GraphQLError, getOperationAST, type OperationTypeNode } from "graphql";
import { errorStatus } from "../core/errors.ts";
import type { Span, SpanAttributes, Tracer } from "../core/tracing.ts";
import { monotonicClock } from "../runtime/clock.ts";
import type { Operations, Origin, Prepared } from "./operations.ts";
import { traceParentOf } from "./trace-parent.ts";

/**
 * A span for each operation, after OpenTelemetry's conventions for GraphQL servers: from when its request has come until it is
 * executed, or its subscription is open. It has nothing of what a client sent but the name of the operation.
 */
export function traceOperations(operations: Operations, tracer: Tracer): Operations {
  return {
    ...operations,
    async prepare(client, sent, assertServed, origin) {
      const sinceMs = monotonicClock.now();
      const preparation = await operations.prepare(client, sent, assertServed, origin);
      const untilMs = monotonicClock.now();
      const { admissionSinceMs, refusal, batchLength } = preparation;
      const parent = traceParentOf(origin.traceparent);
      function begin(kind: OperationTypeNode | null): Span | null {
        const name = kind ?? nameOfUnknown;
        const span = tracer.begin({ name, kind: "server", parent, client: client.id, sinceMs });
        span?.set({ "queue_latency.transport": transportOf(origin, kind, batchLength !== null) });
        span?.add("read request", sinceMs, admissionSinceMs ?? untilMs);
        if (admissionSinceMs !== null) span?.add("admit request", admissionSinceMs, untilMs);
        return span;
      }
      if (refusal !== null) {
        end(begin(null), refusal.errors);
        return preparation;
      }
      return {
        ...preparation,
        operations: preparation.operations.map((each) => {
          const span = begin("errors" in each ? null : each.kind);
          if (span === null) return each;
          if (!("errors" in each)) {
            span.set(factsOf(each));
            return { ...each, span };
          }
          end(span, each.errors);
          return each;
        }),
      };
    },
    async execute(prepared) {
      const result = await operations.execute(prepared);
      end(prepared.span, result.errors);
      return result;
    },
    async subscribe(prepared) {
      const opened = await operations.subscribe(prepared);
      end(prepared.span, "errors" in opened ? opened.errors : []);
      return opened;
    },
  };
}

/** Of an operation that was refused before its kind was known. */
const nameOfUnknown = "GraphQL Operation";
/** The bound of a document allows longer names. */
const maxNameLength = 64;

/** A subscription is a stream of events whatever else the client accepts, and a batch is answered as JSON whatever it prefers. */
function transportOf(
  { transport }: Origin,
  kind: OperationTypeNode | null,
  isBatch: boolean,
): Origin["transport"] {
  if (transport === "websocket") return transport;
  if (kind === "subscription") return "sse";
  return isBatch ? "http" : transport;
}

function factsOf({ kind, operationName, document, cost }: Prepared): SpanAttributes {
  const name = getOperationAST(document, operationName)?.name?.value;
  return {
    "graphql.operation.type": kind,
    ...(name !== undefined && { "graphql.operation.name": name.slice(0, maxNameLength) }),
    ...(cost?.actualQueryCost != null && { "queue_latency.cost": cost.actualQueryCost }),
  };
}

function end(span: Span | null | undefined, errors: readonly GraphQLError[]): void {
  if (span == null) return;
  const [code] = errors.map(({ extensions }) => extensions.code ?? "_OTHER");
  // There are few codes. A message may have text of the client.
  if (code !== undefined) span.set({ "error.type": String(code) });
  span.end(errors.some(isFailure));
}

/** Whether the server failed, rather than refused what a client asked for. */
function isFailure({ extensions: { code } }: GraphQLError): boolean {
  return code === "INTERNAL_SERVER_ERROR" || errorStatus[code as keyof typeof errorStatus] >= 500;
}
