import { type DocumentNode, type GraphQLError, type GraphQLSchema, getOperationAST } from "graphql";
import { isAsyncIterable, mapAsyncIterator, type Plugin } from "graphql-yoga";
import type { Admission, Admit, Client, CostReport, Operation } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";

/** GraphQL parameters as somebody sent them: nothing of them is certain. */
export interface SentParams {
  readonly query?: unknown;
  readonly operationName?: unknown;
  readonly variables?: unknown;
}

/** The part of Yoga that parses and validates, with its caches. */
export interface Parser {
  parse(source: string): DocumentNode;
  validate(schema: GraphQLSchema, document: DocumentNode): readonly GraphQLError[];
  readonly schema: GraphQLSchema;
}

/** What was sent, parsed; null when it cannot be, or is not valid: then Yoga says why, and runs nothing. */
export function operationOf(
  params: SentParams | null | undefined,
  parser: Parser,
): Operation<DocumentNode> | null {
  if (typeof params?.query !== "string") return null;
  try {
    const document = parser.parse(params.query);
    if (parser.validate(parser.schema, document).length > 0) return null;
    const { operationName, variables } = params;
    return {
      document,
      operationName: typeof operationName === "string" ? operationName : null,
      variables:
        typeof variables === "object" && variables !== null ? (variables as Record<string, unknown>) : {},
    };
  } catch {
    return null;
  }
}

/** Parameters of operations that were admitted, each with who asked: nothing else is executed. */
export type Admitted = WeakMap<object, Client>;

export interface AdmissionPluginOptions {
  readonly admitted: Admitted;
  readonly admit: Admit<DocumentNode>;
  /** Who the request is from, by what Node's adapter hands over. Throws when it may not come in. */
  readonly identify: (serverContext: object) => Client;
  /** Most operations in one batch. */
  readonly maxBatch: number;
}

/**
 * Asks for admission once per HTTP request, for all its operations together, before any of them runs; and reports to every
 * answer what it cost.
 */
export function useAdmission({ admit, admitted, identify, maxBatch }: AdmissionPluginOptions): Plugin {
  const admissions = new WeakMap<Request, Admission>();
  let parserFor: ((context: object) => Parser) | undefined;

  /** Whatever went wrong before: what was not admitted does not run. */
  function assertAdmitted({ params }: { readonly params?: object }): void {
    if (params === undefined || !admitted.has(params))
      throw new Error("an operation came this far without admission");
  }

  return {
    onYogaInit({ yoga }) {
      parserFor = (context) => yoga.getEnveloped(context) as unknown as Parser;
    },
    onRequestParse({ request, serverContext }) {
      // Before the body is read: strangers are not listened to.
      const client = identify(serverContext);
      return {
        async onRequestParseDone({ requestParserResult: sent }) {
          const batch: readonly SentParams[] = Array.isArray(sent) ? sent : [sent];
          const isTooLong = batch.length > maxBatch;
          const operations = batch.slice(0, maxBatch).map((params) => {
            // Yoga's own checks look at the parameters, too.
            const parser = parserFor?.({ ...serverContext, request, params });
            if (parser === undefined) throw new Error("Yoga was not initialized");
            return operationOf(params, parser);
          });
          const isMixed = Array.isArray(sent) && operations.some(isSubscription);
          const admission = await admit(client, isTooLong || isMixed ? [null] : operations);
          admissions.set(request, admission);
          if (isTooLong) throw badBatch(`at most ${maxBatch} operations in a batch, got ${batch.length}`);
          if (isMixed) throw badBatch("a subscription to come alone, it came in a batch");
          if (admission.refusal !== null) throw admission.refusal;
          batch.forEach((params, i) => {
            if (operations[i] != null) admitted.set(params, client);
          });
        },
      };
    },
    onExecute: ({ args }) => assertAdmitted(args.contextValue),
    onSubscribe: ({ args }) => assertAdmitted(args.contextValue),
    onResultProcess({ request, result, setResult }) {
      const costs = admissions.get(request)?.costs;
      if (!costs) return;
      if (Array.isArray(result)) setResult(result.map((each, i) => withCost(each, costs[i])));
      else if (isAsyncIterable(result)) setResult(withCostFirst(result, costs[0]));
      else setResult(withCost(result, total(costs)));
    },
  };
}

function badBatch(expected: string): AppError {
  return new AppError("BAD_USER_INPUT", `expected ${expected}`);
}

function isSubscription(operation: Operation<DocumentNode> | null): boolean {
  if (operation === null) return false;
  return getOperationAST(operation.document, operation.operationName)?.operation === "subscription";
}

/** An answer with what it cost in its extensions. */
export function withCost<T extends object>(result: T, cost: CostReport | undefined): T {
  if (cost === undefined) return result;
  const extensions = "extensions" in result ? (result.extensions as object) : {};
  return { ...result, extensions: { ...extensions, cost } };
}

/** A stream is charged when it starts, so its first answer says what it cost. */
function withCostFirst<T extends object>(
  stream: AsyncIterable<T>,
  cost: CostReport | undefined,
): AsyncIterable<T> {
  let isFirst = true;
  return mapAsyncIterator(stream[Symbol.asyncIterator]() as AsyncIterableIterator<T>, (result) => {
    if (!isFirst) return result;
    isFirst = false;
    return withCost(result, cost);
  });
}

/** A batch that is refused gets one answer for all of it. */
function total(costs: readonly CostReport[]): CostReport | undefined {
  const [first] = costs;
  if (first === undefined || costs.length === 1) return first;
  return { ...first, requestedQueryCost: costs.reduce((sum, cost) => sum + cost.requestedQueryCost, 0) };
}
