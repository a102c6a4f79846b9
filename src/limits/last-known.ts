import type { ThrottleStatus } from "../core/admission.ts";
import { type MonotonicClock, monotonicClock } from "../core/clock.ts";

/** What Redis said of a client's window. */
export interface Heard {
  readonly status: ThrottleStatus;
  /** 0: none has begun. */
  readonly endsInMs: number;
  /** When it was asked. */
  readonly askedAtMs: number;
}

/** How clients stood when they were last charged by this process: for answers that are given without asking Redis. */
export interface LastKnown {
  learn(client: string, heard: Heard): void;
  /** Of a client that is not remembered, or whose window has ended: all points. */
  of(client: string): ThrottleStatus;
  /**
   * What was heard of a client that cannot have so many points now; null: Redis has to be asked. Nobody gives points back
   * before a window ends, and what was heard is not taken for true for longer than a second, in which somebody may have
   * forgiven a client by deleting its key.
   */
  refusal(client: string, points: number): Pick<Heard, "status" | "endsInMs"> | null;
}

const maxClients = 10_000;
const longestRefusalMs = 1_000;

export function createLastKnown(all: ThrottleStatus, clock: MonotonicClock = monotonicClock): LastKnown {
  const known = new Map<string, Known>();
  return {
    learn(client, { status, endsInMs, askedAtMs }) {
      // The one that was charged longest ago is forgotten first.
      known.delete(client);
      known.set(client, {
        status,
        endsAtMs: clock.now() + endsInMs,
        // By when it was asked: however long the answer took, the window has not ended before.
        refusesUntilMs: askedAtMs + Math.min(endsInMs, longestRefusalMs),
      });
      const [oldest] = known.keys();
      if (known.size > maxClients && oldest !== undefined) known.delete(oldest);
    },
    of(client) {
      const last = known.get(client);
      return last === undefined || clock.now() >= last.endsAtMs ? all : last.status;
    },
    refusal(client, points) {
      const last = known.get(client);
      if (last === undefined || points <= last.status.currentlyAvailable) return null;
      const nowMs = clock.now();
      if (nowMs >= last.refusesUntilMs) return null;

      return { status: last.status, endsInMs: last.endsAtMs - nowMs };
    },
  };
}

interface Known {
  readonly status: ThrottleStatus;
  readonly endsAtMs: number;
  readonly refusesUntilMs: number;
}
