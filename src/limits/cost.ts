import { type DocumentNode, GraphQLError, type GraphQLSchema, getOperationAST } from "graphql";
import type { Operation, Variables } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import { createTextKeyedCache } from "../runtime/text-keyed-cache.ts";
import { coerceVariables } from "./coerce-variables.ts";
import { deferredVariables } from "./deferred-variables.ts";
import { type Tally, tallyOf } from "./tally.ts";
import type { Charge } from "./throttle-cache.ts";

export interface CostOptions {
  readonly schema: GraphQLSchema;
  /** Handed to the fields' own calculations, which also check their arguments. */
  readonly context: object;
}

/** Prices of queries, since clients ask the same again and again. */
export function createPriceList(options: CostOptions): (operation: Operation<DocumentNode>) => Price {
  const known = createTextKeyedCache<Price>();
  return (operation) => {
    const { key } = operation;
    if (key === undefined) return priceOf(operation, options);
    const before = known.get(key);
    if (before !== undefined) return before;
    const price = priceOf(operation, options);
    if (!price.isTimed) known.set(key, price);
    return price;
  };
}

/** What is known of an operation before it runs. */
export interface Price {
  /** Points that it costs. Those for recording events are not charged as points: their events are. */
  readonly cost: number;
  readonly charge: Charge;
  /** How large its answer may be. */
  readonly maxBytes: number;
  /** Whether any of its fields costs something: then Redis is needed to run it. */
  readonly needsRedis: boolean;
  /** Whether it depends on the time. */
  readonly isTimed: boolean;
  /** The variables as resolvers get them. */
  readonly variables: Variables;
}

export const free: Price = {
  cost: 0,
  charge: { points: 0, events: 0 },
  maxBytes: 0,
  needsRedis: false,
  isTimed: false,
  variables: {},
};

/** Writing an answer of this number of bytes takes as long as reading a queue. */
const bytesPerPoint = 4_000;
/** Parsing and validating this number of characters takes somewhat longer than reading a queue. */
const charactersPerPoint = 1_000;
/** Of a document, not charged for: that takes little longer than any request. */
const freeCharacters = 2_000;
/** Validation compares fragments in pairs, each of which takes as long as this number of characters. */
const charactersPerPair = 20;
/** Of an event as a literal, which is paid for with the event. */
const charactersPerEvent = 300;
/** Of the answer about an event, which is paid for with the event. */
const bytesPerEvent = 150;

/**
 * Points that an operation costs, with the variables it came with: what its fields declare in the schema, added up over
 * aliases and fragments, or what its document or the largest answer to it costs by its size, if that is more. What `@skip` and
 * `@include` leave out is free.
 *
 * @returns a cost of 0 when the operation does not exist: then nothing is executed.
 * @throws AppError what a field says of its arguments; BAD_USER_INPUT when variables do not fit their types;
 *   MAX_COST_EXCEEDED when the cost is not a number.
 */
export function priceOf(
  { document, operationName, variables: sent }: Operation<DocumentNode>,
  { schema, context }: CostOptions,
): Price {
  const node = getOperationAST(document, operationName);
  if (!node) return { ...free, variables: sent };
  const { coerced, errors } = coerceVariables(schema, node, sent, deferredVariables(schema, document));
  if (errors !== undefined) throw badInput(errors[0]);

  const tally = calculated(() => tallyOf(document, node, { schema, context, variables: coerced }));
  if (tally.fields === 0 && node.operation === "subscription") {
    throw new AppError("BAD_USER_INPUT", "expected a subscription with a field that is not skipped");
  }
  const { points, recordPoints, events, bytes, maxBytes, timed } = tally;
  const size = Math.max(
    pointsOfReading(readLength(document) - charactersPerEvent * events),
    Math.floor(Math.max(0, bytes - bytesPerEvent * events) / bytesPerPoint),
  );
  const reading = Math.max(points - recordPoints, size);
  const cost = reading + recordPoints;
  // A cost that is no number would pass every limit.
  if (!Number.isFinite(cost) || cost < 0 || !Number.isFinite(events)) {
    throw new AppError("MAX_COST_EXCEEDED", "the cost of the operation is not a number");
  }
  return {
    cost,
    charge: { points: reading, events },
    maxBytes,
    needsRedis: points > 0,
    isTimed: timed > 0,
    variables: coerced,
  };
}

/** Points for reading a document of such a length, be it run or refused. */
export function pointsOfReading(characters: number): number {
  return Math.max(0, Math.ceil((characters - freeCharacters) / charactersPerPoint));
}

export function charactersOf({ loc }: DocumentNode): number {
  return loc?.end ?? 0;
}

/** Characters of a document that would take as long to parse and validate, if it had no fragments. */
export function readLength(document: DocumentNode): number {
  const fragments = document.definitions.filter((each) => each.kind === "FragmentDefinition").length;
  return charactersOf(document) + (charactersPerPair * fragments * (fragments - 1)) / 2;
}

/**
 * Checks the least that any operation of a document may cost, whatever its variables are. The document need not be valid.
 *
 * @returns a check that throws an AppError MAX_COST_EXCEEDED.
 */
export function createMinCostCheck(options: CostOptions & { readonly maxCost: number }) {
  /** Documents are kept and sent again; what they cost at least stays. */
  const known = new WeakMap<DocumentNode, number>();
  return (document: DocumentNode): void => {
    const cost = known.get(document) ?? minCostOf(document, options);
    known.set(document, cost);
    if (cost > options.maxCost) throw tooExpensive(options.maxCost, `at least ${cost}`);
  };
}

export function tooExpensive(maxCost: number, cost: number | string): AppError {
  return new AppError(
    "MAX_COST_EXCEEDED",
    `expected a cost of at most ${maxCost} points, got ${cost}; ask for less, or in several requests (MAX_COST, RATE_LIMIT_MAX)`,
  );
}

function minCostOf(document: DocumentNode, { schema, context }: CostOptions): number {
  const costs = document.definitions.flatMap((each) =>
    each.kind === "OperationDefinition"
      ? [tallyOf(document, each, { schema, context, variables: {}, isLenient: true }).points]
      : [],
  );
  return costs.length === 0 ? 0 : Math.min(...costs);
}

function calculated(calculation: () => Tally): Tally {
  try {
    return calculation();
  } catch (error) {
    // An argument that is null at run time though its type forbids it: the field would fail, but its neighbours would run.
    if (error instanceof GraphQLError) throw badInput(error);
    throw error;
  }
}

function badInput(error: GraphQLError | undefined): AppError {
  const message = error?.message ?? "the variables do not fit their types";
  return new AppError("BAD_USER_INPUT", message, { cause: error });
}
