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
   * Takes one of the client's slots, a reserved one if there is any.
   *
   * @param end ends the subscription, if the client may not have it any more; called at most once.
   * @returns a function that frees the slot.
   * @throws AppError TOO_MANY_SUBSCRIPTIONS.
   */
  take(client: string, end: (reason: AppError) => void): () => void;
  /** How many are taken, of all clients. */
  taken(): number;
  /** Ends all subscriptions of a client that may not have them any more. */
  endAll(client: string, reason: AppError): void;
}

/** Opening a subscription takes no longer, unless its client has gone before. */
const reservedMs = 10_000;

export function createSubscriptionSlots(max: number): SubscriptionSlots {
  /** What ends each of a client's subscriptions. */
  const held = new Map<string, Set<(reason: AppError) => void>>();
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

  return {
    reserve,
    take(client, end) {
      const [oldest] = reserved.get(client) ?? [];
      oldest?.();
      assertFree(client);
      const slots = held.get(client) ?? new Set();
      held.set(client, slots);
      slots.add(end);
      return () => {
        slots.delete(end);
        if (slots.size === 0 && held.get(client) === slots) held.delete(client);
      };
    },
    taken: () => [...held.values()].reduce((sum, slots) => sum + slots.size, 0),
    endAll(client, reason) {
      const slots = held.get(client) ?? new Set();
      held.delete(client);
      for (const end of slots) end(reason);
    },
  };
}
