import {
  createSourceEventStream,
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  execute,
  type GraphQLError,
} from "graphql";
import { isAsyncIterable, type Plugin } from "graphql-yoga";
import { createPushStream } from "./push-stream.ts";
import { type BriefOptions, briefResult } from "./use-brief-errors.ts";

type Told = IteratorResult<ExecutionResult, undefined>;

/** What a subscription is told, as a client may see it. Who is told the same gets the very same result. */
export interface Pushes extends AsyncIterableIterator<ExecutionResult, undefined> {
  next(): Promise<Told>;
  return(): Promise<Told>;
}

export interface SharedPushesOptions {
  /** What a client may see of an error; logs what it may not. */
  readonly maskError: (error: unknown) => GraphQLError;
  readonly guard: BriefOptions;
}

/** One subscription, as often as somebody has it: what is made of a push is the same for all of them. */
interface SharedOperation {
  readonly key: string;
  /** Of the first who had it: the others let go of theirs. */
  readonly args: ExecutionArgs;
  members: number;
  /** The latest pushes, each with what is told of it; the newest stands last. */
  readonly recent: { readonly pushed: unknown; readonly told: Promise<Told> }[];
}

/** Those who subscribed at different times are told at different times; this many of them find what others were told. */
const mostRecent = 4;
const ended: Told = { done: true, value: undefined };
const streams = new WeakMap<ExecutionArgs, Pushes>();

/**
 * Subscribes through Yoga's pipeline, and gives the pushes without what it wraps round them for each subscriber: masks, which
 * they have passed already, once for all.
 */
export async function subscribePushes(
  { subscribe }: { readonly subscribe: (args: ExecutionArgs) => unknown },
  args: ExecutionArgs,
): Promise<Pushes | ExecutionResult> {
  const result = (await subscribe(args)) as ExecutionResult;
  return streams.get(args) ?? result;
}

export function isPushes(result: Pushes | ExecutionResult): result is Pushes {
  return isAsyncIterable(result);
}

/**
 * Runs a subscription once for all who have it: whoever is pushed the same as another one gets the same result, which is
 * then written once (push-stream.ts). The same subscription is the same document, operation and variables. Who asks makes no
 * difference to what a push says: what a client may see is decided at its admission.
 */
export function useSharedPushes({ maskError, guard }: SharedPushesOptions): Plugin {
  const operations = new WeakMap<DocumentNode, Map<string, SharedOperation>>();

  async function subscribe(args: ExecutionArgs): Promise<Pushes | ExecutionResult> {
    const source = await createSourceEventStream(args);
    if (!isAsyncIterable(source)) return source;
    const pushes = pushesOf(source[Symbol.asyncIterator]() as AsyncIterator<unknown>, join(args));
    streams.set(args, pushes);
    return pushes;
  }

  /** Most subscribers wait most of the time: a promise that waits is smaller than a function that does. */
  function pushesOf(source: AsyncIterator<unknown>, operation: SharedOperation): Pushes {
    let isMember = true;
    const end = () => {
      if (isMember) leave(operation);
      isMember = false;
      return ended;
    };
    const told = ({ done, value }: IteratorResult<unknown>) =>
      done === true ? end() : toldOf(operation, value);
    const broke = (error: unknown) => {
      end();
      throw maskError(error);
    };
    const pushes: Pushes = {
      next: () => source.next().then(told, broke),
      async return() {
        end();
        await source.return?.();
        return ended;
      },
      [Symbol.asyncIterator]: () => pushes,
    };
    return pushes;
  }

  function join(args: ExecutionArgs): SharedOperation {
    const ofDocument = operations.get(args.document) ?? new Map<string, SharedOperation>();
    operations.set(args.document, ofDocument);
    const key = JSON.stringify([args.operationName, args.variableValues]);
    const operation = ofDocument.get(key) ?? { key, args, members: 0, recent: [] };
    ofDocument.set(key, operation);
    operation.members += 1;
    return operation;
  }

  function leave(operation: SharedOperation): void {
    operation.members -= 1;
    if (operation.members === 0) operations.get(operation.args.document)?.delete(operation.key);
  }

  function toldOf({ args, members, recent }: SharedOperation, pushed: unknown): Promise<Told> {
    const known = recent.findLast((each) => isSame(each.pushed, pushed));
    if (known !== undefined) return known.told;
    const told = run({ ...args, rootValue: pushed });
    // Who is alone keeps nothing for others.
    if (members === 1) recent.length = 0;
    else if (recent.push({ pushed, told }) > mostRecent) recent.shift();
    return told;
  }

  async function run(args: ExecutionArgs): Promise<Told> {
    try {
      const result = await execute(args);
      if (result.errors === undefined) return { done: false, value: result };
      return { done: false, value: briefResult({ ...result, errors: result.errors.map(maskError) }, guard) };
    } catch (error) {
      return { done: false, value: { errors: [maskError(error)] } };
    }
  }

  return {
    onSubscribe({ setSubscribeFn }) {
      setSubscribeFn(subscribe);
    },
    onResultProcess({ result, setResultProcessor }) {
      if (!isAsyncIterable(result)) return;
      setResultProcessor(
        (stream, { Response }) => createPushStream(stream as AsyncIterable<ExecutionResult>, Response),
        "text/event-stream",
      );
    },
  };
}

/** Whether both have the very same objects in the same order. */
function isSame(a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
  return a.length === b.length && a.every((each, i) => each === b[i]);
}
