import type { Accuracy } from "./snapshot.ts";

/** What a job system itself says of one queue. */
export interface Observation {
  /** The queue's name in its job system; it is presented as `<source>/<queue>`. */
  readonly queue: string;
  /** How long the head had been claimable when it was read, in ms; null when nothing waits. */
  readonly headAgeMs: number | null;
  /** `headAgeMs` may be wrong by this much either way: the time that the reading took. */
  readonly uncertaintyMs: number;
  readonly depth: number;
  readonly scheduled: number;
  readonly paused: boolean;
  readonly accuracy: Accuracy;
  /** When it was read, by {@link processClock}. */
  readonly readAtMs: number;
}

/** Everything that one reading of a job system said. */
export interface ObservedSource {
  /** Name of the source, as it stands before the slash: `faktory`. */
  readonly source: string;
  /** All queues of the source: one that is missing here has gone, and becomes MISSING. */
  readonly queues: readonly Observation[];
  /** For how long this may be believed, in ms; later the queues are stale. */
  readonly freshForMs: number;
}

/** What a source is handed to tell what it learned. */
export interface EventSink {
  /** @throws AppError SERVICE_UNAVAILABLE when Redis does not answer; the next reading makes up for it. */
  observe(observed: ObservedSource): Promise<void>;
}
