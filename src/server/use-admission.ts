import { type DocumentNode, type GraphQLError, type GraphQLSchema, getOperationAST, validate } from "graphql";
import { isAsyncIterable, mapAsyncIterator, type Plugin } from "graphql-yoga";
import type { Admission, Admit, Client, CostReport, Operation, Variables } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import type { RequestBudget, RequestGuard, SentParams } from "../core/request-guard.ts";
import { accepts } from "./accepts.ts";
import {
  admitRequest,
  isKnown,
  type Parser,
  type ReadOperation,
  type ReadRequest,
  readRequest,
  refused,
} from "./read-request.ts";
import type { Turns } from "./turns.ts";

/** Parameters of operations that were admitted, each with who asked: nothing else is executed. */
export type Admitted = WeakMap<object, Client>;

export interface AdmissionPluginOptions {
  readonly admitted: Admitted;
  readonly turns: Turns;
  readonly admit: Admit<DocumentNode>;
  /** The schema that documents are validated against. */
  readonly requestSchema: GraphQLSchema;
  /** The same schema, for variables that admission has coerced. */
  readonly coercedSchema: GraphQLSchema;
  /** Who the request is from, by what Node's adapter hands over. Throws when it may not come in. */
  readonly identify: (serverContext: object) => Client;
  readonly guard: RequestGuard<DocumentNode>;
  /** Most operations in one batch. */
  readonly maxBatch: number;
}

interface BudgetContext {
  /** There while a request is read, and not when it is run. */
  readonly budget?: RequestBudget<DocumentNode>;
}

/**
 * Asks for admission once per HTTP request, for all its operations together, before any of them runs; and reports to every
 * answer what it cost.
 */
export function useAdmission(options: AdmissionPluginOptions): Plugin<BudgetContext> {
  const { admit, admitted, turns, requestSchema, coercedSchema, identify, guard, maxBatch } = options;
  const admissions = new WeakMap<Request, Admission>();
  /** By their parameters: what was parsed before is not parsed again, and not refused in other words. */
  const documents = new WeakMap<object, DocumentNode>();
  const problems = new WeakMap<object, readonly GraphQLError[]>();
  const coerced = new WeakMap<object, Variables>();
  let parserFor: ((context: object) => Parser) | undefined;

  function readBatch(
    sent: SentParams | readonly SentParams[],
    request: Request,
    context: object,
  ): ReadRequest {
    const batch = isBatch(sent) ? sent : [sent];
    if (batch.length > maxBatch) {
      return refused(badInput(`at most ${maxBatch} operations in a batch, got ${batch.length}`));
    }
    const read = readRequest(
      batch.map((params) => (isKnown(params) ? params : null)),
      (params, budget) => {
        // Yoga's own checks look at the parameters, too.
        const parser = parserFor?.({ ...context, request, params, budget });
        if (parser === undefined) throw new Error("Yoga was not initialized");
        return parser;
      },
      guard,
    );
    if (!read.operations.some(isSubscription)) return read;
    if (isBatch(sent)) return refused(badInput("a subscription to come alone, it came in a batch"));
    if (accepts(request, "text/event-stream")) return read;
    return refused(
      new AppError("NOT_ACCEPTABLE", "expected an Accept header with text/event-stream, for a subscription"),
    );
  }

  /** Whatever went wrong before: what was not admitted does not run. */
  function assertAdmitted({ params }: { readonly params?: object }): void {
    if (params === undefined || !admitted.has(params))
      throw new Error("an operation came this far without admission");
  }

  return {
    onYogaInit({ yoga }) {
      parserFor = (context) => yoga.getEnveloped(context) as unknown as Parser;
    },
    onParse({ context, setParseFn, setParsedDocument }) {
      setParseFn((source) => guard.parse(String(source)));
      const { params, budget } = context;
      const document = documents.get(params);
      if (document !== undefined) setParsedDocument(document);
      return ({ result }) => {
        if (result !== null && "definitions" in result) budget?.spend(result);
      };
    },
    onValidate({ setValidationFn }) {
      // One more error tells that there are more.
      setValidationFn((_, document, rules) =>
        validate(requestSchema, document, rules, { maxErrors: guard.maxErrors - 1 }),
      );
    },
    onRequestParse({ request, serverContext }) {
      // Before the body is read: strangers are not listened to.
      const client = identify(serverContext);
      return {
        async onRequestParseDone({ requestParserResult: sent }) {
          const { read, admission } = await turns.begin(client.id, async () => {
            const read = readBatch(sent, request, serverContext);
            return { read, admission: await admitRequest(admit, client, read) };
          });
          admissions.set(request, admission);
          if (admission.refusal !== null) throw admission.refusal;
          const batch: readonly object[] = Array.isArray(sent) ? sent : [sent];
          read.operations.forEach((each, i) => {
            const params = batch[i] as object;
            if (each.problems.length > 0) problems.set(params, each.problems);
            if (each.operation === null) return;
            documents.set(params, each.operation.document);
            admitted.set(params, client);
            const variables = admission.variables[i];
            if (variables != null && kindOf(each.operation) === "mutation") coerced.set(params, variables);
          });
        },
      };
    },
    onParams({ params, setResult }) {
      const errors = problems.get(params);
      if (errors !== undefined) setResult({ errors });
    },
    onExecute({ args }) {
      assertAdmitted(args.contextValue);
      const variables = coerced.get(args.contextValue.params);
      if (variables !== undefined) Object.assign(args, { schema: coercedSchema, variableValues: variables });
    },
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

function isBatch(sent: SentParams | readonly SentParams[]): sent is readonly SentParams[] {
  return Array.isArray(sent);
}

function badInput(expected: string): AppError {
  return new AppError("BAD_USER_INPUT", `expected ${expected}`);
}

function isSubscription({ operation }: ReadOperation): boolean {
  return kindOf(operation) === "subscription";
}

function kindOf(operation: Operation<DocumentNode> | null): string | undefined {
  if (operation === null) return undefined;
  return getOperationAST(operation.document, operation.operationName)?.operation;
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
