import type { DocumentNode, GraphQLSchema } from "graphql";
import type { Admit, ThrottleStatus } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import { costOf } from "./cost.ts";
import { checkScopes } from "./scopes.ts";
import type { Throttle } from "./throttle.ts";

export interface AdmissionOptions {
  readonly schema: GraphQLSchema;
  readonly throttle: Throttle;
  /** Most points that one request may cost. */
  readonly maxCost: number;
  /** Handed to the fields' own calculations. */
  readonly costContext: object;
}

export function createAdmission({
  schema,
  throttle,
  maxCost,
  costContext,
}: AdmissionOptions): Admit<DocumentNode> {
  /** A request that costs more than a whole window has will never pass, however long its client waits. */
  const mostPoints = Math.min(maxCost, throttle.max);

  return async (client, operations) => {
    let costs: number[] = operations.map(() => 0);
    let total = 0;
    let refusal: AppError | null = null;
    try {
      for (const operation of operations) if (operation !== null) checkScopes(schema, operation, client);
      costs = operations.map((operation) =>
        operation === null ? 0 : costOf(schema, operation, costContext),
      );
      total = costs.reduce((sum, cost) => sum + cost, 0);
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

    const report = (status: ThrottleStatus) =>
      costs.map((cost) => ({
        requestedQueryCost: cost,
        actualQueryCost: refusal === null ? cost : null,
        throttleStatus: status,
      }));
    // Where nothing will run, Redis is not asked for anything, not even for what is left.
    if (refusal !== null || operations.every((operation) => operation === null)) {
      return { refusal, costs: report(throttle.lastKnown(client.id)) };
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
      return { refusal, costs: report(taken.status) };
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      // What reads no queue (GraphiQL's introspection, say) needs no Redis, and works without it.
      if (total > 0) refusal = error;
      return { refusal, costs: report(throttle.lastKnown(client.id)) };
    }
  };
}
