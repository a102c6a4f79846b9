import { type DocumentNode, type GraphQLSchema, getOperationAST } from "graphql";
import { checkScopes } from "../auth/scopes.ts";
import type { Admit, Client, CostReport, InvalidDocument, Operation } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import { createPriceList, free, type Price, pointsOfReading, readLength, tooExpensive } from "./cost.ts";
import type { SubscriptionSlots } from "./subscription-slots.ts";
import type { Left, Taken, Throttle } from "./throttle.ts";
import type { Charge } from "./throttle-cache.ts";

export interface AdmissionOptions {
  readonly schema: GraphQLSchema;
  readonly throttle: Throttle;
  readonly subscriptions: Pick<SubscriptionSlots, "reserve">;
  /** Most points that one request may cost. */
  readonly maxCost: number;
  /** Handed to the fields' own calculations. */
  readonly costContext: object;
}

type Sent = Operation<DocumentNode> | InvalidDocument<DocumentNode> | null;

/** Prices a request and takes its points and events: all of it may run, or nothing. */
export function createAdmission({
  schema,
  throttle,
  subscriptions,
  maxCost,
  costContext,
}: AdmissionOptions): Admit<DocumentNode> {
  /** A request that costs more than a full bucket holds will never pass, however long its client waits. */
  const max: Charge = { points: Math.min(maxCost, throttle.max.points), events: throttle.max.events };
  const priceOf = createPriceList({ schema, context: costContext });

  function priceEach(client: Client, operations: readonly Sent[]): readonly Price[] {
    for (const each of operations) if (isOperation(each)) checkScopes(schema, each, client);
    const reading = priceOfReading(operations.filter((each) => !isOperation(each)));
    const firstRefused = operations.findIndex((each) => !isOperation(each));
    return operations.map((each, i) => {
      if (isOperation(each)) return priceOf(each);
      return i === firstRefused ? reading : free;
    });
  }

  /** For what was read and is refused, as far as the client has points: the work is done. */
  async function chargeForReading(client: Client, operations: readonly Sent[]) {
    const { points } = priceOfReading(operations).charge;
    try {
      const left = points === 0 ? throttle.lastKnown(client.id) : await throttle.takeRest(client.id, points);
      return { charged: points === 0 ? null : points, left };
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      return { charged: null, left: throttle.lastKnown(client.id) };
    }
  }

  async function take(client: Client, charge: Charge, needsRedis: boolean): Promise<Taken> {
    try {
      return await throttle.take(client.id, charge);
    } catch (error) {
      // What reads no queue (GraphiQL's introspection, say) needs no Redis, and works without it.
      if (!(error instanceof AppError) || needsRedis) throw error;
      return throttle.takeHere(client.id, charge);
    }
  }

  return async (client, operations) => {
    let prices: readonly Price[] = operations.map(() => free);
    let giveSlotBack = () => {};
    try {
      prices = priceEach(client, operations);
      checkSum(prices, max);
      if (operations.some(isSubscription)) giveSlotBack = subscriptions.reserve(client.id);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      const { charged, left } = await chargeForReading(client, operations);
      const costs = prices.map((price, i) => report(price, left, i === 0 ? charged : null));
      return { refusal: error, costs, variables: [] };
    }

    const variables = prices.map((price) => price.variables);
    if (!operations.some(isOperation)) {
      const { left } = await chargeForReading(client, operations);
      return { refusal: null, costs: prices.map((price) => report(price, left, price.cost)), variables };
    }
    const charge = sumOf(prices);
    try {
      const needsRedis = prices.some((price) => price.needsRedis);
      const taken = await take(client, charge, needsRedis);
      const refusal = taken.isAllowed ? null : throttled(taken, charge);
      if (refusal !== null) giveSlotBack();
      const costs = prices.map((price) => report(price, taken.left, taken.isAllowed ? price.cost : null));
      return { refusal, costs, variables };
    } catch (error) {
      giveSlotBack();
      if (!(error instanceof AppError)) throw error;
      const left = throttle.lastKnown(client.id);
      return { refusal: error, costs: prices.map((price) => report(price, left, null)), variables };
    }
  };
}

function isOperation(sent: Sent): sent is Operation<DocumentNode> {
  return sent !== null && "document" in sent;
}

/** A subscription always comes alone. */
function isSubscription(sent: Sent): boolean {
  return (
    isOperation(sent) && getOperationAST(sent.document, sent.operationName)?.operation === "subscription"
  );
}

/** JSON is read in a quarter of the time that a document of the same length takes. */
const charactersInJsonPerCharacter = 4;

function lengthOf(sent: Sent): number {
  if (sent === null) return 0;
  return isOperation(sent)
    ? readLength(sent.document) + charactersInJson(sent.variables) / charactersInJsonPerCharacter
    : readLength(sent.invalid);
}

/** Of documents together that cannot run: many short ones take as long to read as one that is long. */
function priceOfReading(refused: readonly Sent[]): Price {
  const points = pointsOfReading(refused.reduce((sum, each) => sum + lengthOf(each), 0));
  return { ...free, cost: points, charge: { points, events: 0 } };
}

/** Half of what one client may have in flight, since texts that are escaped take twice as much. */
const maxAnswerBytes = 8_000_000;

/** @throws AppError MAX_COST_EXCEEDED for what can never pass, whatever is left. */
function checkSum(prices: readonly Price[], max: Charge): void {
  const cost = prices.reduce((sum, price) => sum + price.cost, 0);
  if (cost > max.points) throw tooExpensive(max.points, cost);
  const bytes = prices.reduce((sum, price) => sum + price.maxBytes, 0);
  if (bytes > maxAnswerBytes) throw answerTooLarge(bytes);
  const { events } = sumOf(prices);
  if (events > max.events) {
    throw new AppError(
      "MAX_COST_EXCEEDED",
      `expected at most ${max.events} events in one request (RECORD_RATE_LIMIT), got ${events}`,
    );
  }
}

function answerTooLarge(bytes: number): AppError {
  const [most, limit] = [bytes, maxAnswerBytes].map((each) => Math.ceil(each / 1_000_000));
  return new AppError(
    "MAX_COST_EXCEEDED",
    `expected an answer of at most ${limit} MB, got a request for up to ${most} MB; ask for fewer elements, fields or aliases, or in several requests`,
  );
}

function sumOf(prices: readonly Price[]): Charge {
  return prices.reduce(
    ({ points, events }, { charge }) => ({ points: points + charge.points, events: events + charge.events }),
    free.charge,
  );
}

function throttled({ missing, left, retryAfterSeconds }: Taken, charge: Charge): AppError {
  const name = missing ?? "points";
  const { currentlyAvailable } = left[name];
  const setting = name === "points" ? "RATE_LIMIT_MAX" : "RECORD_RATE_LIMIT";
  return new AppError(
    "THROTTLED",
    `expected a cost of at most the ${currentlyAvailable} ${name} that are left (${setting}), got ${charge[name]}; retry after ${retryAfterSeconds} s`,
    { retryAfterSeconds },
  );
}

function report({ cost, charge: { events } }: Price, left: Left, charged: number | null): CostReport {
  const { points: throttleStatus } = left;
  const costs = { requestedQueryCost: cost, actualQueryCost: charged, throttleStatus };
  if (events === 0) return costs;
  const actualCost = charged === cost ? events : null;
  return { ...costs, recording: { requestedCost: events, actualCost, throttleStatus: left.events } };
}

/** Of the texts in variables, roughly: how much there was to coerce. */
function charactersInJson(variables: object): number {
  let characters = 0;
  const pending: unknown[] = [variables];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (typeof next === "string") characters += next.length;
    else if (typeof next === "object" && next !== null) {
      const values = Object.values(next);
      characters += 4 * values.length;
      for (const value of values) pending.push(value ?? 0);
    }
  }
  return characters;
}
