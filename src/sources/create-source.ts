import type { FollowSink } from "../core/log-following.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import type { PostgresQuery } from "../settings/parse-postgres-queries.ts";
import type { PolledKind, SourceKind } from "../settings/source-kinds.ts";
import type { SourceConfig } from "../settings/source-urls.ts";
import { createAsynqSource } from "./asynq.ts";
import { createBullSource } from "./bull.ts";
import { createBullmqSource } from "./bullmq.ts";
import { createFaktorySource } from "./faktory.ts";
import { createListSource } from "./lists/list-source.ts";
import { listSystems } from "./lists/list-systems.ts";
import { createPostgresSource } from "./postgres/postgres.ts";
import { createRabbitmqSource } from "./rabbitmq/rabbitmq.ts";
import { createSidekiqSource } from "./sidekiq.ts";
import { createStreamsSource } from "./streams.ts";

/** How often sources read their job systems. */
export interface SourceIntervals {
  readonly intervalsMs: Readonly<Record<PolledKind, number>>;
  readonly bullmqReconcileMs: number;
}

/** One source of the settings, which reads as soon as it is started, whether or not another process reads it, too. */
export function createSource(
  intervals: SourceIntervals,
  { kind, name: source, url, prefixes = {} }: SourceConfig,
  sink: FollowSink,
  logger: Logger,
  queries: Pick<SourceWiring, "queriesOf" | "refusedQueries"> = noQueries(),
): Service {
  return sourceFactories(intervals)[kind]({ url, source, prefixes, sink, logger, ...queries });
}

const noQueries = () => ({ queriesOf: () => [], refusedQueries: new Set<string>() });

interface SourceWiring {
  readonly url: string;
  readonly source: string;
  readonly prefixes: Readonly<Record<string, string>>;
  readonly sink: FollowSink;
  readonly logger: Logger;
  readonly queriesOf: (source: string) => readonly PostgresQuery[];
  readonly refusedQueries: Set<string>;
}

/** Every kind of job system that can be read, a line each. */
function sourceFactories({
  intervalsMs,
  bullmqReconcileMs,
}: SourceIntervals): Record<SourceKind, (wiring: SourceWiring) => Service> {
  const ofLists = (kind: keyof typeof listSystems) => (wiring: SourceWiring) =>
    createListSource({ ...wiring, system: listSystems[kind], intervalMs: intervalsMs[kind] });
  return {
    faktory: (wiring) => createFaktorySource({ ...wiring, intervalMs: intervalsMs.faktory }),
    sidekiq: (wiring) => createSidekiqSource({ ...wiring, intervalMs: intervalsMs.sidekiq }),
    bullmq: (wiring) => createBullmqSource({ ...wiring, reconcileMs: bullmqReconcileMs }),
    streams: (wiring) => createStreamsSource({ ...wiring, intervalMs: intervalsMs.streams }),
    asynq: (wiring) => createAsynqSource({ ...wiring, intervalMs: intervalsMs.asynq }),
    bull: (wiring) => createBullSource({ ...wiring, intervalMs: intervalsMs.bull }),
    rabbitmq: (wiring) => createRabbitmqSource({ ...wiring, intervalMs: intervalsMs.rabbitmq }),
    postgres: ({ queriesOf, ...wiring }) =>
      createPostgresSource({
        ...wiring,
        queries: () => queriesOf(wiring.source),
        intervalMs: intervalsMs.postgres,
      }),
    celery: ofLists("celery"),
    rq: ofLists("rq"),
    laravel: ofLists("laravel"),
    resque: ofLists("resque"),
    dramatiq: ofLists("dramatiq"),
    huey: ofLists("huey"),
    arq: ofLists("arq"),
  };
}
