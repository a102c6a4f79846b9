import {
  createSourceEventStream,
  type DocumentNode,
  type ExecutionArgs,
  type GraphQLError,
  type GraphQLSchema,
  getOperationAST,
  locatedError,
} from "graphql";
import type { Client, Variables } from "../core/admission.ts";
import type { CpuShare } from "../core/cpu-share.ts";
import type { PushSource } from "../core/push-source.ts";
import { execute, type JsonResult } from "../executor/execute.ts";
import { boundResult, type ErrorBounds } from "./bounded-errors.ts";
import { type EncodedResult, encodeResult } from "./encoded-result.ts";
import type { FairScheduler } from "./fair-scheduler.ts";
import type { Refusal, Subscription } from "./subscriber.ts";
import { createSubscriptionGroup, type SubscriptionGroup } from "./subscription-group.ts";

export interface SubscriptionDeduplicationOptions {
  readonly schema: GraphQLSchema;
  /** What resolvers may use. */
  readonly contextOf: (client: Client, share: CpuShare) => object;
  /** What a client may see of an error. */
  readonly maskError: (error: unknown) => GraphQLError;
  readonly bounds: ErrorBounds;
  readonly scheduler: FairScheduler;
  /**
   * Takes a slot for a subscription of a client.
   *
   * @param end is called when the client may not have the subscription any more.
   * @returns a function that frees the slot. @throws AppError TOO_MANY_SUBSCRIPTIONS.
   */
  readonly takeSlot: (client: string, end: (reason: unknown) => void) => () => void;
}

/** A subscription that passed every check and was charged. */
export interface SubscriptionRequest {
  readonly client: Client;
  readonly document: DocumentNode;
  readonly operationName: string | null;
  /** As they came. */
  readonly variables: Variables;
  /** As resolvers get them, in the order of their definitions. */
  readonly coercedVariables: Variables;
}

export interface SubscriptionDeduplication {
  /** Joins the group of identical subscriptions. Never rejects. @returns an encoded result when it cannot be opened. */
  subscribe(request: SubscriptionRequest): Promise<Subscription | EncodedResult>;
}

/** Subscriptions are identical when their document, operation, variables and scopes are. What a member may see follows from these. */
export function createSubscriptionDeduplication({
  schema,
  contextOf,
  maskError,
  bounds,
  scheduler,
  takeSlot,
}: SubscriptionDeduplicationOptions): SubscriptionDeduplication {
  const groups = new WeakMap<DocumentNode, Map<string, SubscriptionGroup>>();

  function groupOf({ client, document, operationName, variables, coercedVariables }: SubscriptionRequest) {
    const ofDocument = groups.get(document) ?? new Map<string, SubscriptionGroup>();
    groups.set(document, ofDocument);
    const key = JSON.stringify([[...client.scopes].sort(), operationName, coercedVariables]);
    const known = ofDocument.get(key);
    if (known !== undefined) return known;
    const argsOf = (share: CpuShare): ExecutionArgs => ({
      schema,
      document,
      operationName,
      variableValues: coercedVariables,
      // Of no client: all members get the same.
      contextValue: contextOf({ id: "", scopes: client.scopes }, share),
    });
    const group = createSubscriptionGroup({
      open: (share) => openSource({ ...argsOf(share), variableValues: variables }),
      run: (push, share, charged) => run({ ...argsOf(share), rootValue: push }, charged),
      maskError,
      scheduler,
      onClose: () => void ofDocument.delete(key),
    });
    ofDocument.set(key, group);
    return group;
  }

  async function run(args: ExecutionArgs, client: string): Promise<EncodedResult> {
    let result: Partial<JsonResult>;
    try {
      result = await scheduler.charge(client, () => execute(args));
    } catch (error) {
      result = { errors: [maskError(error)] };
    }
    return scheduler.charge(client, () => encode(result));
  }

  function encode(result: Partial<JsonResult>): EncodedResult {
    if (result.errors === undefined) return encodeResult(result);
    return encodeResult(boundResult({ ...result, errors: result.errors.map(maskError) }, bounds));
  }

  return {
    async subscribe(request) {
      let subscription: Subscription | undefined;
      let revoked: unknown;
      let freeSlot = () => {};
      try {
        freeSlot = takeSlot(request.client.id, (reason) => {
          revoked = reason;
          subscription?.fail(maskError(reason));
        });
        const joined = await groupOf(request).join(request.client.id, freeSlot);
        if ("errors" in joined) return encode({ errors: joined.errors });
        subscription = joined;
        if (revoked !== undefined) subscription.fail(maskError(revoked));
        return subscription;
      } catch (error) {
        freeSlot();
        return encode({ errors: [atField(error, request)] });
      }
    },
  };
}

async function openSource(args: ExecutionArgs): Promise<PushSource<unknown> | Refusal> {
  const opened = await createSourceEventStream(args);
  if (!(Symbol.asyncIterator in opened)) return { errors: opened.errors ?? [] };
  if (!("since" in opened)) throw new Error("a subscription needs a source of pushes");
  return opened as PushSource<unknown>;
}

/** An error of the field of a subscription, as `createSourceEventStream` has it. */
function atField(error: unknown, { document, operationName }: SubscriptionRequest): GraphQLError {
  const field = getOperationAST(document, operationName)?.selectionSet.selections[0];
  if (field?.kind !== "Field") return locatedError(error, undefined);
  return locatedError(error, field, [field.alias?.value ?? field.name.value]);
}
