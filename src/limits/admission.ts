import type { DocumentNode, GraphQLSchema } from "graphql";
import type { Admission, Admit, ThrottleStatus } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import { type Price, priceOf } from "./cost.ts";
import { checkScopes } from "./scopes.ts";
import type { Throttle } from "./throttle.ts";

export interface AdmissionOptions {
  readonly schema: GraphQLSchema;
  /** The same schema, for variables that were coerced before. */
  readonly coercedSchema: GraphQLSchema;
  readonly throttle: Throttle;
  /** Most points that one request may cost. */
  readonly maxCost: number;
  /** Handed to the fields' own calculations. */
  readonly costContext: object;
}

export function createAdmission({
  schema,
  coercedSchema,
  throttle,
  maxCost,
  costContext,
}: AdmissionOptions): Admit<DocumentNode> {
  /** A request that costs more than a whole window has will never pass, however long its client waits. */
  const mostPoints = Math.min(maxCost, throttle.max);

  const costOptions = { schema, coercedSchema, context: costContext };
  const free: Price = { cost: 0, variables: {} };

  return async (client, operations) => {
    let prices: Price[] = operations.map(() => free);
    let total = 0;
    let refusal: AppError | null = null;
    try {
      for (const operation of operations) if (operation !== null) checkScopes(schema, operation, client);
      prices = operations.map((operation) => (operation === null ? free : priceOf(operation, costOptions)));
      total = prices.reduce((sum, { cost }) => sum + cost, 0);
      if (total > mostPoints) {
        refusal = new AppError(
          "MAX_COST_EXCEEDED",
          `expected a cost of at most ${mostPoints} points, got ${total}`,
        );
      }
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      refusal = error;
    }

    const answer = (throttleStatus: ThrottleStatus): Admission => ({
      refusal,
      costs: prices.map(({ cost }) => ({
        requestedQueryCost: cost,
        actualQueryCost: refusal === null ? cost : null,
        throttleStatus,
      })),
      variables: prices.map(({ variables }) => variables),
    });
    // Where nothing will run, Redis is not asked for anything, not even for what is left.
    if (refusal !== null || operations.every((operation) => operation === null)) {
      return answer(throttle.lastKnown(client.id));
    }
    try {
      const taken = await throttle.take(client.id, total);
      if (!taken.isAllowed) {
        const { currentlyAvailable } = taken.status;
        refusal = new AppError(
          "THROTTLED",
          `expected a cost of at most the ${currentlyAvailable} points that are left, got ${total}; try again in ${taken.retryAfterSeconds} s`,
          { retryAfterSeconds: taken.retryAfterSeconds },
        );
      }
      return answer(taken.status);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      // What reads no queue (GraphiQL's introspection, say) needs no Redis, and works without it.
      if (total > 0) refusal = error;
      return answer(throttle.lastKnown(client.id));
    }
  };
}
