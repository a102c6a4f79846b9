import { createSourceEventStream, type DocumentNode, type ExecutionArgs, type GraphQLError } from "graphql";
import { isAsyncIterable } from "graphql-yoga";
import type { Client } from "../core/admission.ts";
import { boundResult, type ErrorBounds } from "./bounded-errors.ts";
import { type EncodedResult, encodeResult } from "./encoded-result.ts";
import { execute, type JsonResult } from "./execute.ts";
import type { FairScheduler } from "./fair-scheduler.ts";

type Push = IteratorResult<EncodedResult, undefined>;

/** The pushes of a subscription. Members of one group get the very same objects. */
export interface Pushes extends AsyncIterator<EncodedResult, undefined> {
  /** Rejects with the error that the client is to see when the stream ends for a reason. */
  next(): Promise<Push>;
  return(): Promise<Push>;
}

export interface SubscriptionDeduplicationOptions {
  /** What a client may see of an error. */
  readonly maskError: (error: unknown) => GraphQLError;
  readonly bounds: ErrorBounds;
  readonly scheduler: FairScheduler;
}

/** The arguments of one subscription. */
export interface SubscriptionArgs {
  /** Opens the client's own source of pushes. */
  readonly own: ExecutionArgs;
  /** Executes a push for the whole group. */
  readonly shared: () => ExecutionArgs;
}

export interface SubscriptionDeduplication {
  /** Never rejects. @returns an encoded result when the subscription cannot be opened. */
  subscribe(client: Client, args: SubscriptionArgs): Promise<Pushes | EncodedResult>;
}

/** Identical subscriptions: each push is executed and encoded once for all members. */
interface Group {
  readonly key: string;
  readonly args: ExecutionArgs;
  members: number;
  /** The latest pushes with their results; the newest is the last. */
  readonly recent: { readonly pushed: unknown; readonly result: Promise<Push> }[];
}

/** Members that subscribed at different times are pushed at different times; this many results are kept for them. */
const maxRecent = 4;
const done: Push = { done: true, value: undefined };

/** Subscriptions are identical when their document, operation, variables and scopes are. */
export function createSubscriptionDeduplication({
  maskError,
  bounds,
  scheduler,
}: SubscriptionDeduplicationOptions): SubscriptionDeduplication {
  const groups = new WeakMap<DocumentNode, Map<string, Group>>();

  function join({ scopes }: Client, { own, shared }: SubscriptionArgs): Group {
    const ofDocument = groups.get(own.document) ?? new Map<string, Group>();
    groups.set(own.document, ofDocument);
    const key = JSON.stringify([[...scopes], own.operationName, own.variableValues]);
    const group = ofDocument.get(key) ?? { key, args: shared(), members: 0, recent: [] };
    ofDocument.set(key, group);
    group.members += 1;
    return group;
  }

  function leave(group: Group): void {
    group.members -= 1;
    if (group.members === 0) groups.get(group.args.document)?.delete(group.key);
  }

  function resultOf({ args, members, recent }: Group, client: string, pushed: unknown): Promise<Push> {
    const known = recent.findLast((each) => isSame(each.pushed, pushed));
    if (known !== undefined) return known.result;
    const result = run({ ...args, rootValue: pushed }, client);
    // A group of one keeps nothing for others.
    if (members === 1) recent.length = 0;
    else if (recent.push({ pushed, result }) > maxRecent) recent.shift();
    return result;
  }

  async function run(args: ExecutionArgs, client: string): Promise<Push> {
    let result: Partial<JsonResult>;
    try {
      result = await scheduler.charge(client, () => execute(args));
    } catch (error) {
      result = { errors: [maskError(error)] };
    }
    return { done: false, value: scheduler.charge(client, () => encode(result)) };
  }

  function encode(result: Partial<JsonResult>): EncodedResult {
    if (result.errors === undefined) return encodeResult(result);
    return encodeResult(boundResult({ ...result, errors: result.errors.map(maskError) }, bounds));
  }

  function pushesOf(source: AsyncIterator<unknown>, group: Group, client: string): Pushes {
    let isMember = true;
    const end = () => {
      if (isMember) leave(group);
      isMember = false;
      return done;
    };
    // Most subscribers wait most of the time: a pending promise is smaller than a suspended function.
    const push = ({ done: isDone, value }: IteratorResult<unknown>) =>
      isDone === true ? end() : resultOf(group, client, value);
    const fail = (error: unknown) => {
      end();
      throw maskError(error);
    };
    return {
      // A client that used its share asks for its next push later, and then gets the newest state.
      next: () => scheduler.begin(client, () => source.next()).then(push, fail),
      async return() {
        end();
        await source.return?.();
        return done;
      },
    };
  }

  return {
    async subscribe(client, args) {
      try {
        const source = await scheduler.begin(client.id, () => createSourceEventStream(args.own));
        if (!isAsyncIterable(source)) return encode({ errors: source.errors ?? [] });
        return pushesOf(source[Symbol.asyncIterator](), join(client, args), client.id);
      } catch (error) {
        return encode({ errors: [maskError(error)] });
      }
    },
  };
}

/** Whether both have the very same objects in the same order. */
function isSame(a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
  return a.length === b.length && a.every((each, i) => each === b[i]);
}
