import { StartError } from "../../core/errors.ts";
import type { EventSink } from "../../core/observation.ts";
import { monotonicClock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import { createOutageLog } from "../../runtime/outage-log.ts";
import type { Service } from "../../runtime/service.ts";
import { rabbitmqAddress, rabbitmqProblem } from "../../settings/rabbitmq-url.ts";
import { createNameClashes, type NamedQueue } from "../name-clashes.ts";
import { createPolledSource, defaultMaxQueues } from "../polled-source.ts";
import { createManagementApi, type QueuePage, type RabbitmqQueue } from "./management-api.ts";
import { type KnownQueue, knownQueue, observationOf } from "./queue-observation.ts";

export interface RabbitmqSourceOptions {
  /** `http://user:password@host[:15672][/path][?vhosts=A,B]`: RabbitMQ's management API. */
  readonly url: string;
  /** The broker's statistics are five seconds old at most, and no newer when they are read more often. */
  readonly intervalMs: number;
  readonly sink: EventSink;
  readonly logger: Logger;
  /** What stands before the slash in the names of its queues. @default "rabbitmq" */
  readonly source?: string;
  /** More queues than these are not read, with one warning. @default 10_000 */
  readonly maxQueues?: number;
  /** How many queues one request asks for. @default 500 */
  readonly pageSize?: number;
}

/** How often the broker is asked for its settings, which change with a restart. */
const settingsEveryMs = 60_000;

/**
 * Reads the queues of a RabbitMQ from its management API, and takes no message.
 *
 * - The age of the head is that of its `timestamp` property, where it has one that may be right and no message is unacknowledged, since
 *   `head_message_timestamp` may be that of one. Else it comes from the counters: see {@link file://./cumulative-curve.ts}. Either is
 *   ESTIMATED.
 * - It is a LOWER_BOUND while messages from before the first reading are there, after messages were put back, and in queues with
 *   priorities.
 * - Queues of the virtual host `/` have their own names, others `VHOST/NAME`. Streams are left out: they are read, not emptied.
 *
 * @throws StartError when the URL is not that of a management API.
 */
export function createRabbitmqSource(options: RabbitmqSourceOptions): Service {
  const {
    url,
    source = "rabbitmq",
    logger,
    maxQueues = defaultMaxQueues,
    pageSize = 500,
    ...polled
  } = options;
  const problem = rabbitmqProblem(url);
  if (problem !== null) throw new StartError(`expected ${problem}`);
  const address = rabbitmqAddress(url);
  const api = createManagementApi(address);
  const maxPages = Math.ceil(maxQueues / pageSize);
  const withoutClashes = createNameClashes(source, logger);
  const uncounted = createOutageLog({
    ...{ logger, fields: { source } },
    begins: "RabbitMQ counts no messages: ages of their heads are unknown",
    ends: "RabbitMQ counts messages again",
  });
  let known = new Map<string, KnownQueue>();
  let isCounting = true;
  let settingsAtMs = Number.NEGATIVE_INFINITY;

  async function read(signal: AbortSignal) {
    const found = new Map<string, NamedQueue>();
    const kept = new Map<string, KnownQueue>();
    let hasMore = false;
    try {
      await readSettings(signal);
      for (const vhost of address.vhosts ?? [null]) hasMore = (await readVhost(vhost)) || hasMore;
    } catch (error) {
      // It may come back with other settings.
      settingsAtMs = Number.NEGATIVE_INFINITY;
      throw error;
    }
    // A queue that was deleted and declared again is another one.
    known = kept;
    return {
      queues: withoutClashes([...found.values()]),
      hasMore,
      whyEmpty: "the user may see no queue; it needs the tag monitoring",
    };

    /** @returns whether it has more queues than are read. */
    async function readVhost(vhost: string | null): Promise<boolean> {
      const pages = await readPages(vhost);
      // One that was deleted meanwhile moves others to pages that have been read already.
      const isMissing = ([origin, each]: readonly [string, KnownQueue]) =>
        !found.has(origin) && (vhost === null || vhost === each.vhost);
      if (pages > 1 && [...known].some(isMissing)) await readPages(vhost);
      return pages > maxPages;
    }

    async function readPages(vhost: string | null): Promise<number> {
      let pages = 1;
      for (let page = 1; page <= Math.min(pages, maxPages); page++) {
        const sentAtMs = monotonicClock.now();
        const answer = await api.queues(vhost, { page, pageSize }, signal);
        const uncertaintyMs = (monotonicClock.now() - sentAtMs) / 2;
        pages = answer.pageCount;
        for (const queue of answer.queues) note(queue, answer, sentAtMs + uncertaintyMs, uncertaintyMs);
      }
      return pages;
    }

    function note(queue: RabbitmqQueue, page: QueuePage, readAtMs: number, halfTripMs: number): void {
      const origin = `virtual host ${JSON.stringify(queue.vhost)}, queue ${JSON.stringify(queue.name)}`;
      if (queue.type === "stream" || found.has(origin)) return;
      const before = known.get(origin) ?? knownQueue(queue);
      kept.set(origin, before);
      const { brokerNowMs } = page;
      const observation = observationOf(queue, before, { isCounting, brokerNowMs, readAtMs, halfTripMs });
      found.set(origin, { origin, observation });
    }
  }

  async function readSettings(signal: AbortSignal): Promise<void> {
    const nowMs = monotonicClock.now();
    if (nowMs - settingsAtMs < settingsEveryMs) return;
    const why = await api.whyUncounted(signal);
    settingsAtMs = nowMs;
    isCounting = why === null;
    if (why === null) uncounted.recovered();
    else uncounted.failed(why);
  }

  return createPolledSource({ ...polled, source, logger, maxQueues, read, close: api.close });
}
