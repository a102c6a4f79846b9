import { AppError } from "../core/errors.ts";

/** Bounds how many subscriptions one client has open at a time in this process. */
export interface SubscriptionSlots {
  /**
   * Opens a stream in one of the client's slots, which is free again when the stream ends, however it ends. It also ends
   * when the client goes, even if nobody ever asked the stream for anything.
   *
   * @param onGone calls back when the client goes; returns a function that takes the callback back.
   * @throws AppError TOO_MANY_SUBSCRIPTIONS, before anything is opened.
   */
  hold<T>(
    client: string,
    onGone: (callback: () => void) => () => void,
    open: () => Promise<AsyncIterableIterator<T>>,
  ): Promise<AsyncIterableIterator<T>>;
}

export function createSubscriptionSlots(max: number): SubscriptionSlots {
  const held = new Map<string, number>();

  function release(client: string): void {
    const left = (held.get(client) ?? 0) - 1;
    if (left > 0) held.set(client, left);
    else held.delete(client);
  }

  return {
    async hold(client, onGone, open) {
      const count = held.get(client) ?? 0;
      if (count >= max) {
        throw new AppError(
          "TOO_MANY_SUBSCRIPTIONS",
          `expected at most ${max} open subscriptions of one client`,
        );
      }
      held.set(client, count + 1);
      try {
        let forget = () => {};
        const stream = untilEnd(await open(), () => {
          release(client);
          forget();
        });
        forget = onGone(() => void stream.return?.());
        return stream;
      } catch (error) {
        release(client);
        throw error;
      }
    },
  };
}

/** The same stream; `onEnd` is called once, when it is exhausted, returned or broken. */
function untilEnd<T>(stream: AsyncIterableIterator<T>, onEnd: () => void): AsyncIterableIterator<T> {
  let isEnded = false;
  const end = () => {
    if (isEnded) return;
    isEnded = true;
    onEnd();
  };
  const wrapped: AsyncIterableIterator<T> = {
    async next() {
      try {
        const result = await stream.next();
        if (result.done === true) end();
        return result;
      } catch (error) {
        end();
        throw error;
      }
    },
    async return(value) {
      end();
      return (await stream.return?.(value)) ?? { done: true, value };
    },
    [Symbol.asyncIterator]: () => wrapped,
  };
  return wrapped;
}
