import {
  createSourceEventStream,
  type DocumentNode,
  type ExecutionArgs,
  type ExecutionResult,
  execute,
} from "graphql";
import { isAsyncIterable, type Plugin } from "graphql-yoga";
import { createPushStream } from "./push-stream.ts";

type Result = ExecutionResult | Promise<ExecutionResult>;

/** One subscription, as often as somebody has it: what is made of a push is the same for all of them. */
interface SharedOperation {
  members: number;
  /** The latest pushes, each with what came of it; the newest stands last. */
  readonly recent: { readonly pushed: unknown; readonly result: Result }[];
}

/** Those who subscribed at different times are told at different times; this many of them find what others were told. */
const mostRecent = 4;

/**
 * Runs a subscription once for all who have it: whoever is pushed the same as another one gets the same result, which is
 * then written once (push-stream.ts). The same subscription is the same document, operation and variables. Who asks makes no
 * difference to what a push says: what a client may see is decided at its admission.
 */
export function useSharedPushes(): Plugin {
  const operations = new WeakMap<DocumentNode, Map<string, SharedOperation>>();

  async function subscribe(args: ExecutionArgs): Promise<AsyncIterable<ExecutionResult> | ExecutionResult> {
    const source = await createSourceEventStream(args);
    if (!isAsyncIterable(source)) return source;
    const { operation, leave } = join(args);
    const pushes = source[Symbol.asyncIterator]() as AsyncIterableIterator<unknown>;
    const results: AsyncIterableIterator<ExecutionResult, undefined> = {
      async next() {
        try {
          const { done, value } = await pushes.next();
          if (done !== true) return { done: false, value: await resultOf(operation, args, value) };
        } catch (error) {
          leave();
          throw error;
        }
        leave();
        return { done: true, value: undefined };
      },
      async return() {
        leave();
        await pushes.return?.();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]: () => results,
    };
    return results;
  }

  function join({ document, operationName, variableValues }: ExecutionArgs) {
    const ofDocument = operations.get(document) ?? new Map<string, SharedOperation>();
    operations.set(document, ofDocument);
    const key = JSON.stringify([operationName, variableValues]);
    const operation = ofDocument.get(key) ?? { members: 0, recent: [] };
    ofDocument.set(key, operation);
    operation.members += 1;
    let isMember = true;
    const leave = () => {
      if (!isMember) return;
      isMember = false;
      operation.members -= 1;
      if (operation.members === 0) ofDocument.delete(key);
    };
    return { operation, leave };
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

function resultOf(operation: SharedOperation, args: ExecutionArgs, pushed: unknown): Result {
  const { recent } = operation;
  const known = recent.findLast((each) => isSame(each.pushed, pushed));
  if (known !== undefined) return known.result;
  const result = execute({ ...args, rootValue: pushed }) as Result;
  // Who is alone keeps nothing for others.
  if (operation.members === 1) recent.length = 0;
  else if (recent.push({ pushed, result }) > mostRecent) recent.shift();
  return result;
}

/** Whether both have the very same objects in the same order. */
function isSame(a: unknown, b: unknown): boolean {
  if (!Array.isArray(a) || !Array.isArray(b)) return a === b;
  return a.length === b.length && a.every((each, i) => each === b[i]);
}
