import type { Observation } from "../../core/observation.ts";
import { isTooFarAhead } from "../head-age.ts";
import { type CumulativeCurve, createCumulativeCurve } from "./cumulative-curve.ts";
import type { RabbitmqQueue } from "./management-api.ts";

/** What is kept of a queue from one reading to the next. */
export interface KnownQueue {
  readonly vhost: string;
  curve: CumulativeCurve;
  /** Since when it has unacknowledged messages and no statistics. */
  uncountedSinceMs: number | null;
}

/** A quorum queue reports its length every five seconds, and that is gathered every five seconds, too. */
const quorumLagMs = 15_000;
/** For so long a queue may have unacknowledged messages and not yet say that it delivered some. */
const uncountedAfterMs = 15_000;

function nameOf({ vhost, name }: RabbitmqQueue): string {
  return vhost === "/" ? name : `${vhost}/${name}`;
}

/** Of a queue that was not known before. */
export function knownQueue(queue: RabbitmqQueue): KnownQueue {
  return { vhost: queue.vhost, curve: curveOf(queue), uncountedSinceMs: null };
}

function curveOf({ type }: RabbitmqQueue): CumulativeCurve {
  return createCumulativeCurve(type === "quorum" ? quorumLagMs : undefined);
}

export interface ReadAt {
  /** Whether the broker's settings let it count messages. */
  readonly isCounting: boolean;
  readonly brokerNowMs: number | null;
  readonly readAtMs: number;
  readonly halfTripMs: number;
}

export function observationOf(
  queue: RabbitmqQueue,
  known: KnownQueue,
  { isCounting, brokerNowMs, readAtMs, halfTripMs }: ReadAt,
): Observation {
  const {
    messages_ready: ready,
    messages_unacknowledged: unacknowledged = null,
    message_stats: stats,
  } = queue;
  const seen = {
    ...{ queue: nameOf(queue), readAtMs, uncertaintyMs: halfTripMs, scheduled: null, paused: false },
    ...{ depth: ready ?? null, inFlight: unacknowledged },
  };
  // A queue whose node is down is still listed, with its last numbers or with none.
  if (ready === undefined || isDown(queue))
    return { ...seen, depth: null, headAgeMs: null, accuracy: "UNKNOWN" };
  const isRefusing = refusesMessages(queue);
  // Those that came and those that expired meanwhile look like the same ones.
  const isUncounted = !isCounted(queue, known, isCounting, readAtMs) || (isRefusing && hasTimeToLive(queue));
  // What comes and goes meanwhile would be missing in it.
  if (isUncounted) known.curve = curveOf(queue);
  const { publish: published = 0, deliver_get: delivered = 0, redeliver: again = 0 } = stats ?? {};
  const head = known.curve.add({
    ...{ atMs: readAtMs, ready, published: isRefusing ? null : published },
    delivered: Math.max(0, delivered - again),
  });
  if (head.ageMs === null) return { ...seen, headAgeMs: null, accuracy: "EXACT" };
  const timestampAgeMs = unacknowledged === 0 ? ageByTimestamp(queue, brokerNowMs) : null;
  if (timestampAgeMs !== null)
    return {
      ...seen,
      uncertaintyMs: halfTripMs + 1_000,
      headAgeMs: timestampAgeMs,
      accuracy: accuracyOf(queue, false),
    };
  if (isUncounted) return { ...seen, headAgeMs: null, accuracy: "UNKNOWN" };
  if (isRefusing)
    return { ...seen, headAgeMs: Math.max(0, head.ageMs - head.uncertaintyMs), accuracy: "LOWER_BOUND" };
  return {
    ...seen,
    uncertaintyMs: halfTripMs + head.uncertaintyMs,
    headAgeMs: head.ageMs,
    accuracy: accuracyOf(queue, head.isLowerBound),
  };
}

/** A queue of which messages are unacknowledged has delivered them: without statistics of that, nothing of it is counted. */
function isCounted(
  { messages_unacknowledged: unacknowledged = 0, message_stats: stats }: RabbitmqQueue,
  known: KnownQueue,
  isCounting: boolean,
  nowMs: number,
): boolean {
  if (!isCounting) return false;
  const { uncountedSinceMs } = known;
  if (stats !== undefined || unacknowledged === 0) known.uncountedSinceMs = null;
  else known.uncountedSinceMs = uncountedSinceMs ?? nowMs;
  return nowMs - (known.uncountedSinceMs ?? nowMs) < uncountedAfterMs;
}

/** When it is full. RabbitMQ counts what it refuses as published all the same. */
function refusesMessages(queue: RabbitmqQueue): boolean {
  return String(settingOf(queue, "overflow")).startsWith("reject-publish");
}

function hasTimeToLive(queue: RabbitmqQueue): boolean {
  return settingOf(queue, "message-ttl") !== undefined;
}

/** By an argument of the queue, or by the policies that apply to it. */
function settingOf(
  { arguments: given, effective_policy_definition: policy }: RabbitmqQueue,
  name: string,
): unknown {
  return given?.[`x-${name}`] ?? policy?.[name];
}

/** Of a queue with priorities the head is the first of its highest priority, and others may be older. */
function accuracyOf(
  { arguments: given = {} }: RabbitmqQueue,
  isLowerBound: boolean,
): Observation["accuracy"] {
  return isLowerBound || "x-max-priority" in given ? "LOWER_BOUND" : "ESTIMATED";
}

function isDown({ state = "running" }: RabbitmqQueue): boolean {
  return state === "down" || state === "stopped" || state === "crashed";
}

/** Null also of a time that is yet to come: a producer that counts wrongly must not make an old head a new one. */
function ageByTimestamp(
  { head_message_timestamp: written }: RabbitmqQueue,
  brokerNowMs: number | null,
): number | null {
  if (typeof written !== "number" || written <= 0 || brokerNowMs === null) return null;
  // AMQP says seconds, but many producers write ms.
  const atMs = written < 1e11 ? written * 1_000 : written;
  const ageMs = brokerNowMs - atMs;
  return isTooFarAhead(ageMs) ? null : Math.max(0, ageMs);
}
