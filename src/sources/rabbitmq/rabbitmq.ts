import { StartError } from "../../core/errors.ts";
import type { EventSink, Observation } from "../../core/observation.ts";
import { monotonicClock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { Service } from "../../runtime/service.ts";
import { rabbitmqAddress, rabbitmqProblem } from "../../settings/rabbitmq-url.ts";
import { createPolledSource } from "../polled-source.ts";
import { type CumulativeCurve, createCumulativeCurve } from "./cumulative-curve.ts";
import { createManagementApi, type QueuePage, type RabbitmqQueue } from "./management-api.ts";

export interface RabbitmqSourceOptions {
  /** `http://user:password@host[:15672][/path][?vhosts=A,B]`: RabbitMQ's management API. */
  readonly url: string;
  /** The broker's statistics are five seconds old at most, and no newer when they are read more often. */
  readonly intervalMs: number;
  readonly sink: EventSink;
  readonly logger: Logger;
  /** What stands before the slash in the names of its queues. @default "rabbitmq" */
  readonly source?: string;
}

const maxPages = 20;
/** A message's time may be that of a producer whose clock is ahead by so much. */
const aheadMs = 60_000;

/**
 * Reads the queues of a RabbitMQ from its management API, and takes no message.
 *
 * - The age of the head is that of its `timestamp` property, where it has one that may be right and no message is unacknowledged, since
 *   `head_message_timestamp` may be that of one. Else it comes from the counters: see {@link createCumulativeCurve}. Either is
 *   ESTIMATED.
 * - It is a LOWER_BOUND while messages from before the first reading are there, after messages were put back, and in queues with
 *   priorities.
 * - Queues of the virtual host `/` have their own names, others `VHOST/NAME`. Streams are left out: they are read, not emptied.
 *
 * @throws StartError when the URL is not that of a management API.
 */
export function createRabbitmqSource(options: RabbitmqSourceOptions): Service {
  const { url, source = "rabbitmq", logger, ...polled } = options;
  const problem = rabbitmqProblem(url);
  if (problem !== null) throw new StartError(`expected ${problem}`);
  const address = rabbitmqAddress(url);
  const api = createManagementApi(address);
  let curves = new Map<string, CumulativeCurve>();

  async function read(signal: AbortSignal) {
    const observed = new Map<string, Observation>();
    const kept = new Map<string, CumulativeCurve>();
    for (const vhost of address.vhosts ?? [null]) {
      for (let page = 1, pages = 1; page <= Math.min(pages, maxPages); page++) {
        const sentAtMs = monotonicClock.now();
        const answer = await api.queues(vhost, page, signal);
        const uncertaintyMs = (monotonicClock.now() - sentAtMs) / 2;
        pages = answer.pageCount;
        for (const queue of answer.queues) {
          const name = nameOf(queue);
          if (queue.type === "stream" || observed.has(name)) continue;
          const curve = curves.get(name) ?? createCumulativeCurve();
          kept.set(name, curve);
          observed.set(name, observationOf(queue, curve, answer, sentAtMs + uncertaintyMs, uncertaintyMs));
        }
      }
    }
    // A queue that was deleted and declared again is another one.
    curves = kept;
    return {
      queues: [...observed.values()],
      whyEmpty: "the user may see no queue; it needs the tag monitoring",
    };
  }

  return createPolledSource({ ...polled, source, logger, read, close: api.close });
}

function nameOf({ vhost, name }: RabbitmqQueue): string {
  return vhost === "/" ? name : `${vhost}/${name}`;
}

function observationOf(
  queue: RabbitmqQueue,
  curve: CumulativeCurve,
  { brokerNowMs }: QueuePage,
  readAtMs: number,
  halfTripMs: number,
): Observation {
  const {
    messages_ready: ready,
    messages_unacknowledged: unacknowledged = null,
    message_stats: stats = {},
  } = queue;
  const seen = {
    ...{ queue: nameOf(queue), readAtMs, uncertaintyMs: halfTripMs, scheduled: null, paused: false },
    ...{ depth: ready ?? null, inFlight: unacknowledged },
  };
  // A queue whose node is down is still listed, with its last numbers or with none.
  if (ready === undefined || isDown(queue))
    return { ...seen, depth: null, headAgeMs: null, accuracy: "UNKNOWN" };
  const { publish: published = 0, deliver_get: delivered = 0, redeliver: again = 0 } = stats;
  const head = curve.add({ atMs: readAtMs, ready, published, delivered: Math.max(0, delivered - again) });
  if (head.ageMs === null) return { ...seen, headAgeMs: null, accuracy: "EXACT" };
  const timestampAgeMs = unacknowledged === 0 ? ageByTimestamp(queue, brokerNowMs) : null;
  if (timestampAgeMs !== null)
    return {
      ...seen,
      uncertaintyMs: halfTripMs + 1_000,
      headAgeMs: timestampAgeMs,
      accuracy: accuracyOf(queue, false),
    };
  return {
    ...seen,
    uncertaintyMs: halfTripMs + head.uncertaintyMs,
    headAgeMs: head.ageMs,
    accuracy: accuracyOf(queue, head.isLowerBound),
  };
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
  return atMs > brokerNowMs + aheadMs ? null : Math.max(0, brokerNowMs - atMs);
}
