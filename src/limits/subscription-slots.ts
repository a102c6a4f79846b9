import { AppError } from "../core/errors.ts";

/** Bounds how many subscriptions one client has open at a time in this process. */
export interface SubscriptionSlots {
  /**
   * Keeps a slot for a subscription that is about to be charged and opened, which then takes it: what cannot be opened is not
   * charged. It is given back after a few seconds if nothing is opened in it.
   *
   * @returns a function that gives it back at once.
   * @throws AppError TOO_MANY_SUBSCRIPTIONS.
   */
  reserve(client: string): () => void;
  /**
   * Opens a stream in one of the client's slots, a reserved one if there is any, which is free again when the stream ends, however it ends. It also ends
   * when the client goes, even if no value was ever requested from the stream.
   *
   * @param onGone calls back when the client goes; returns a function that takes the callback back.
   * @throws AppError TOO_MANY_SUBSCRIPTIONS, before anything is opened.
   */
  hold<T>(
    client: string,
    onGone: (callback: () => void) => () => void,
    open: () => Promise<AsyncIterableIterator<T>>,
  ): Promise<AsyncIterableIterator<T>>;
  /** How many are taken, of all clients. */
  taken(): number;
  /** Ends all streams of a client that may not have them any more: the next read of each rejects with the reason. */
  endAll(client: string, reason: AppError): void;
}

/** Opening a subscription takes no longer, unless its client has gone before. */
const reservedMs = 10_000;

export function createSubscriptionSlots(max: number): SubscriptionSlots {
  /** What ends each of a client's streams. */
  const held = new Map<string, Set<Slot>>();
  /** For each reservation of a client, oldest first, what gives it back. */
  const reserved = new Map<string, Set<() => void>>();

  function assertFree(client: string): void {
    if ((held.get(client)?.size ?? 0) + (reserved.get(client)?.size ?? 0) < max) return;
    throw new AppError(
      "TOO_MANY_SUBSCRIPTIONS",
      `expected at most ${max} open subscriptions of one client (MAX_SUBSCRIPTIONS); close some first`,
    );
  }

  function reserve(client: string): () => void {
    assertFree(client);
    const ofClient = reserved.get(client) ?? new Set();
    reserved.set(client, ofClient);
    const giveBack = () => {
      clearTimeout(timer);
      ofClient.delete(giveBack);
      if (ofClient.size === 0 && reserved.get(client) === ofClient) reserved.delete(client);
    };
    const timer = setTimeout(giveBack, reservedMs);
    timer.unref();
    ofClient.add(giveBack);
    return giveBack;
  }

  function take(client: string): Slot {
    const [oldest] = reserved.get(client) ?? [];
    oldest?.();
    assertFree(client);
    const slots = held.get(client) ?? new Set();
    held.set(client, slots);
    const slot: Slot = {
      reason: null,
      end() {},
      release() {
        slots.delete(slot);
        if (slots.size === 0 && held.get(client) === slots) held.delete(client);
      },
    };
    slots.add(slot);
    return slot;
  }

  return {
    reserve,
    async hold(client, onGone, open) {
      const slot = take(client);
      let isOver = false;
      slot.end = () => {
        isOver = true;
      };
      try {
        let forget = () => {};
        const stream = untilEnd(await open(), slot, () => {
          slot.release();
          forget();
        });
        slot.end = () => void stream.return?.();
        // It may have had to end before it was open.
        if (isOver) slot.end();
        forget = onGone(slot.end);
        return stream;
      } catch (error) {
        slot.release();
        throw error;
      }
    },
    taken: () => [...held.values()].reduce((sum, slots) => sum + slots.size, 0),
    endAll(client, reason) {
      for (const slot of [...(held.get(client) ?? [])]) {
        slot.reason = reason;
        slot.end();
      }
    },
  };
}

interface Slot {
  /** Why its stream was ended; null while it was not, or when the client ended it. */
  reason: AppError | null;
  /** Ends the stream in it, once there is one. */
  end(): void;
  release(): void;
}

/** The same stream; `onEnd` is called once, when it is exhausted, returned or broken. */
function untilEnd<T>(
  stream: AsyncIterableIterator<T>,
  slot: Slot,
  onEnd: () => void,
): AsyncIterableIterator<T> {
  let isEnded = false;
  const end = () => {
    if (isEnded) return;
    isEnded = true;
    onEnd();
  };
  const passed = (result: IteratorResult<T>) => {
    if (result.done !== true) return result;
    end();
    if (slot.reason !== null) throw slot.reason;
    return result;
  };
  const broke = (error: unknown) => {
    end();
    throw error;
  };
  const wrapped: AsyncIterableIterator<T> = {
    // Most streams wait most of the time: a promise that waits is smaller than a function that does.
    next: () => stream.next().then(passed, broke),
    async return(value) {
      end();
      return (await stream.return?.(value)) ?? { done: true, value };
    },
    [Symbol.asyncIterator]: () => wrapped,
  };
  return wrapped;
}
