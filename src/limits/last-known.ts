import type { ThrottleStatus } from "../core/admission.ts";
import { type Clock, processClock } from "../core/clock.ts";

/** How clients stood when they were last charged by this process: for answers that are given without asking Redis. */
export interface LastKnown {
  learn(client: string, status: ThrottleStatus, windowEndsInMs: number): void;
  /** Of a client that is not remembered, or whose window has ended: all points. */
  of(client: string): ThrottleStatus;
}

const maxClients = 10_000;

export function createLastKnown(all: ThrottleStatus, clock: Clock = processClock): LastKnown {
  const known = new Map<string, { readonly status: ThrottleStatus; readonly endsAtMs: number }>();
  return {
    learn(client, status, windowEndsInMs) {
      // The one that was charged longest ago is forgotten first.
      known.delete(client);
      known.set(client, { status, endsAtMs: clock.now() + windowEndsInMs });
      const [oldest] = known.keys();
      if (known.size > maxClients && oldest !== undefined) known.delete(oldest);
    },
    of(client) {
      const last = known.get(client);
      return last === undefined || clock.now() >= last.endsAtMs ? all : last.status;
    },
  };
}
