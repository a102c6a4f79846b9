import { join } from "node:path";
import { createAlerts } from "./alerts/alerts.ts";
import type { ArgumentLimits, Context } from "./api/context.ts";
import { createErrorMask } from "./api/errors.ts";
import { exampleTabs } from "./api/examples.ts";
import { createRequestSchema } from "./api/request-schema.ts";
import { schema } from "./api/schema.ts";
import { traceContext } from "./api/traced-context.ts";
import { createIdentify } from "./auth/identify.ts";
import { createRateLimitKey } from "./auth/rate-limit-key.ts";
import type { Config } from "./config.ts";
import { AppError } from "./core/errors.ts";
import { rateWindow, waitWindow } from "./core/queue-order.ts";
import { createExporters } from "./exporters/exporters.ts";
import { createHealthReader } from "./health/health-reader.ts";
import { createHistory } from "./history/history.ts";
import { createAdmission } from "./limits/admission.ts";
import { createMinCostCheck } from "./limits/cost.ts";
import { createRequestGuard } from "./limits/request-guard.ts";
import { createSubscriptionSlots } from "./limits/subscription-slots.ts";
import { createThrottle } from "./limits/throttle.ts";
import { createAllSnapshots } from "./live/all-snapshots.ts";
import { createChangeFeed } from "./live/change-feed.ts";
import { createLive } from "./live/live.ts";
import { showOwnWrites } from "./live/own-writes.ts";
import { createPageWatches } from "./live/page-watches.ts";
import { createQueuePages } from "./live/queue-pages.ts";
import { createReadAhead } from "./live/read-ahead.ts";
import { createSharedCounts } from "./live/shared-counts.ts";
import { createSnapshotCache } from "./live/snapshot-cache.ts";
import { createConnections } from "./redis/connections.ts";
import { createEmbeddedRedis, type EmbeddedRedis } from "./redis/embedded/embedded-redis.ts";
import { createKeys } from "./redis/keys.ts";
import { createLease } from "./redis/lease.ts";
import { readinessOf } from "./redis/readiness.ts";
import { inBackground, type Logger } from "./runtime/logger.ts";
import type { Service } from "./runtime/service.ts";
import { checkedTogether, inOrder, together } from "./runtime/services.ts";
import { packageVersion } from "./runtime/version.ts";
import { createDashboard } from "./server/dashboard.ts";
import { createProbes } from "./server/probes.ts";
import { createServer } from "./server/server.ts";
import { createAlertRulesFile } from "./settings/alert-rules-file.ts";
import { isLoopback } from "./settings/fields.ts";
import { createObjectives } from "./settings/objectives.ts";
import type { PostgresQuery } from "./settings/parse-postgres-queries.ts";
import { createPostgresQueriesFile } from "./settings/postgres-queries-file.ts";
import { createTokenFile } from "./settings/token-file.ts";
import { createTrustedDocumentsFile } from "./settings/trusted-documents-file.ts";
import { createSource } from "./sources/create-source.ts";
import { createLeaderOnlySource } from "./sources/leader-only-source.ts";
import { createSourceNames } from "./sources/source-names.ts";
import { traceReadings } from "./sources/traced-readings.ts";
import { createTracker } from "./tracker/tracker.ts";

export interface App extends Service {
  /** Where the server listens, such as `http://127.0.0.1:4000`; known after the start. */
  readonly url: string;
}

/** Builds the rooms and wires them: the one place to learn who talks to whom. Nothing runs before `start`. */
export function createApp(config: Config, logger: Logger): App {
  const isEmbedded = config.redisUrls.length === 0;
  const embedded = isEmbedded ? createEmbeddedRedis({ dataDir: config.dataDir, logger }) : undefined;
  const urls = embedded === undefined ? config.redisUrls : [embedded.url];
  const connections = createConnections({ urls, logger });
  const { commands: redis } = connections;
  const keys = createKeys(config.keyPrefix);

  const { eventWindowMs, maxWaitMs, maxQueues, maxEvents, maxKnownQueues, queueTtlMs } = config;
  const queriesFile =
    config.postgresQueryFile === null
      ? undefined
      : createPostgresQueriesFile(config.postgresQueryFile, config.sources, logger);
  const queries = () => queriesFile?.value ?? noQueries;
  // The file names the database where there are several.
  const queriesOf = (source: string) =>
    queries().filter(({ database }) => database === null || database === source);
  const refusedQueries = new Set<string>();
  const sourceNames = createSourceNames(config.sources, queries);
  const tracker = createTracker({
    ...{ redis, keys, logger, eventWindowMs, maxWaitMs, maxKnownQueues, queueTtlMs },
    sources: sourceNames,
    onForgotten: (queue) => history.forget(queue),
    onClockSet() {
      live.rereadAll();
      all.outdate();
      allCounted.outdate();
      snapshots.clear();
    },
  });
  const feed = createChangeFeed({ redis: connections.changes, channel: keys.changes });
  const live = createLive({
    feed,
    read: tracker.read,
    logger,
    rereadMs: connections.isCluster ? rereadMs : null,
  });
  const history = createHistory({
    redis,
    keys,
    // No source can have this name.
    lease: createLease({ redis, keys, name: "/history", logger: inBackground(logger) }),
    choose: tracker.choose,
    read: tracker.read,
    keptMs: config.historyKeptMs,
    maxQueues: config.historyMaxQueues,
    logger,
  });
  feed.listen(history.listener);
  const objectives = createObjectives({ path: config.objectivesFile, logger });
  const health = createHealthReader({ history, objectiveMsOf: objectives.objectiveMsOf });
  const { withCounts } = createSharedCounts({ read: tracker.read, onUnavailable: live.retryCounts });
  const reading = { feed, ...tracker, isWhole: connections.isWhole, maxQueues: maxOrderedQueues };
  const all = createAllSnapshots(reading);
  const allCounted = createAllSnapshots({
    ...reading,
    counts: { throughput: new Set([rateWindow]), waitTime: new Set([waitWindow]) },
  });
  const pages = createQueuePages({ all, allCounted, withCounts, ...health });
  const pageWatches = createPageWatches({ read: pages.read, logger });
  const readAhead = createReadAhead({
    count: tracker.count,
    read: async () => health.healthOfAll(await all.read()),
    next: history,
  });
  const ruleFile = config.alertsFile === null ? undefined : createAlertRulesFile(config.alertsFile, logger);
  const alerts = createAlerts({
    redis,
    keys,
    // No source can have this name.
    lease: createLease({ redis, keys, name: "/alerts", logger }),
    feed: createChangeFeed({ redis: connections.changes, channel: keys.alerts.changes }),
    rules: ruleFile === undefined ? null : () => ruleFile.value,
    receivers: {
      alertmanagers: config.alertmanagerUrls,
      webhooks: config.alertWebhooks,
      heartbeat: config.alertHeartbeatUrl,
    },
    queues: {
      list: tracker.list,
      read: tracker.read,
      healthOf: health.healthOf,
      knownSince: tracker.knownSince,
    },
    logger,
  });

  const limits: ArgumentLimits = {
    maxQueues,
    maxEvents,
    get sources() {
      return sourceNames();
    },
    historyKeptMs: config.historyKeptMs,
  };
  const throttle = createThrottle({
    redis,
    keys,
    rates: {
      points: { max: config.rateLimitMax, windowMs: config.rateLimitWindowMs },
      events: { max: config.recordRateLimit, windowMs: 60_000 },
    },
    logger,
  });
  const subscriptions = createSubscriptionSlots(config.maxSubscriptions);
  const tokenFile =
    config.tokensFile === null
      ? undefined
      : createTokenFile({
          path: config.tokensFile,
          logger,
          onRevoked: ({ name, isKnown }) =>
            subscriptions.endAll(`token:${name}`, isKnown ? scopesRevoked : tokenRevoked),
        });
  const identify = createIdentify({
    findToken: tokenFile?.find ?? null,
    trustedProxies: config.trustedProxies,
  });
  const sourcesUp = new Map<string, boolean>();
  const exporters = createExporters({
    reader: tracker,
    objectiveMsOf: objectives.objectiveMsOf,
    alertStatus: alerts.status,
    maxQueues: config.metricsMaxQueues,
    historyMaxQueues: config.historyMaxQueues,
    statsd: config.statsd,
    statsdLease: createLease({ redis, keys, name: "/statsd", logger }),
    otlp: config.otlpMetrics === null ? null : { ...config.otlpMetrics, version: packageVersion() },
    otlpTraces: config.otlpTraces === null ? null : { ...config.otlpTraces, version: packageVersion() },
    otlpLease: createLease({ redis, keys, name: "/otlp", logger }),
    isRedisUp: () =>
      connections.assertServes().then(
        () => true,
        () => false,
      ),
    subscriptions: subscriptions.taken,
    sourcesUp,
    logger,
  });
  const readers = config.sources.map((source) =>
    createLeaderOnlySource({
      lease: createLease({ redis, keys, name: source.name, logger }),
      sink: exporters.tracer === null ? tracker : traceReadings(tracker, exporters.tracer),
      create: (sink) => createSource(config, source, sink, logger, { queriesOf, refusedQueries }),
      source: source.name,
      onAnswered: (isUp) =>
        void (isUp === null ? sourcesUp.delete(source.name) : sourcesUp.set(source.name, isUp)),
      logger,
    }),
  );
  const requestSchema = createRequestSchema(schema);
  const { maxCost } = config;
  const snapshots = createSnapshotCache({
    feed,
    read: tracker.read,
    maxAgeMs: config.maxAgeMs,
    isWhole: connections.isWhole,
  });
  const queues: Context["tracker"] = {
    ...tracker,
    ...showOwnWrites(tracker, snapshots),
    read: snapshots.read,
  };
  const admit = createAdmission({
    schema: requestSchema,
    throttle,
    subscriptions,
    maxCost,
    costContext: { limits },
  });
  const documentsFile =
    config.trustedDocumentsFile === null
      ? undefined
      : createTrustedDocumentsFile(config.trustedDocumentsFile, logger);
  const dashboard = createDashboard({ directory: builtDashboard, basePath: config.basePath, logger });
  const server = createServer({
    host: config.host,
    port: config.port,
    schema,
    requestSchema,
    async admit(client, operations) {
      const admission = await admit(client, operations);
      if (admission.refusal !== null) exporters.server.refused(admission.refusal.code);
      return admission;
    },
    identify,
    rateLimitKeyOf: createRateLimitKey({ identify, trustedProxies: config.trustedProxies }),
    maxSubscriptions: config.maxSubscriptions,
    takeSlot: subscriptions.take,
    contextOf(client, share, span): Context {
      const context: Context = {
        client: client.id,
        scopes: client.scopes,
        share,
        limits,
        tracker: queues,
        history,
        health,
        live: { watch: live.watch, withCounts, readPage: pages.read, watchPage: pageWatches.watch },
        alerts,
      };
      return span === undefined ? context : traceContext(context, span);
    },
    tracer: exporters.tracer,
    maskError: createErrorMask(logger),
    trustedDocuments: documentsFile === undefined ? null : () => documentsFile.value,
    isOwnDocument: dashboard.hasDocument,
    guard: createRequestGuard({
      ...config,
      checkMinCost: createMinCostCheck({ schema: requestSchema, context: { limits }, maxCost }),
    }),
    corsOrigins: config.corsOrigins,
    // Without tokens the server listens on loopback, and a client proves nothing but the host name that it used.
    isTrustedHost: config.tokensFile === null ? isLoopback : null,
    basePath: config.basePath,
    dashboard,
    exampleTabs,
    needsToken: tokenFile !== undefined,
    routes: createProbes({ readiness: () => readinessOf(connections), refusedQueries }),
    texts: { "/metrics": { ...exporters.metrics, scope: "read" } },
    onAnswered: exporters.server.answered,
    graceMs: config.shutdownGraceMs,
    logger,
  });

  const files = [tokenFile, objectives, documentsFile, queriesFile, ruleFile];
  const services: readonly Service[] = [
    checkedTogether(files.filter((file) => file !== undefined)),
    ...(embedded === undefined ? [] : [embedded]),
    connections,
    tracker,
    ...(embedded === undefined ? [] : [reportingLoss(embedded, tracker)]),
    live,
    pageWatches,
    alerts,
    together(readers),
    exporters,
    dashboard,
    server,
    readAhead,
    ...(embedded === undefined ? [] : [announcing(embedded, server)]),
  ];
  return {
    get url() {
      return server.url;
    },
    ...inOrder(services),
  };
}

const scopesRevoked = new AppError("FORBIDDEN", "the token has fewer scopes now; subscribe again");
const tokenRevoked = new AppError("UNAUTHENTICATED", "the token was revoked; connect with another token");

const noQueries: readonly PostgresQuery[] = [];
/** Written by `npm run build`. */
const builtDashboard = join(import.meta.dirname, "../dist/dashboard");
/** Of more queues, those that are in use are ordered and filtered. */
const maxOrderedQueues = 10_000;
/** Notices of change can be lost between the nodes of a Redis Cluster. */
const rereadMs = 5_000;

/** Before a client asks: what was written last before a power failure may be missing in any queue. */
function reportingLoss(embedded: EmbeddedRedis, tracker: { reportAll(): Promise<void> }): Service {
  return {
    start: async () => {
      if (embedded.hasLostData()) await tracker.reportAll();
    },
    stop: async () => {},
  };
}

/** A second server on the same DATA_DIR then reports where this one listens. */
function announcing(embedded: EmbeddedRedis, server: { readonly url: string }): Service {
  return { start: () => embedded.announce(server.url), stop: async () => {} };
}
