import { StartError } from "./core/errors.ts";
import type { HistoryStep } from "./core/history.ts";
import { receiverProblems, type WebhookConfig, webhooksOf } from "./settings/alert-receivers.ts";
import { isLoopback } from "./settings/fields.ts";
import { type OtlpMetricsSettings, type OtlpTracesSettings, readOtlp } from "./settings/otlp.ts";
import { misspeltSettings, type SettingWarning, unverifiedTls } from "./settings/setting-warnings.ts";
import { settings } from "./settings/settings.ts";
import {
  intervalSetting,
  type PolledKind,
  polledKindNames,
  sourceKindNames,
  urlSetting,
} from "./settings/source-kinds.ts";
import { nameClashes, type SourceConfig } from "./settings/source-urls.ts";
import type { StatsdAddress } from "./settings/statsd-url.ts";

/** All settings, checked. Durations are in ms. */
export interface Config {
  readonly host: string;
  readonly port: number;
  /** The path under which a proxy serves this server, such as `/queues`; empty: none. */
  readonly basePath: string;
  /** Of one Redis; or of several nodes of a Redis Cluster; empty: an own redis-server is started in `dataDir`. */
  readonly redisUrls: readonly string[];
  readonly dataDir: string;
  readonly keyPrefix: string;
  readonly logLevel: string;
  /** The file of tokens and their scopes; null: there are no tokens, and the server listens on loopback only. */
  readonly tokensFile: string | null;
  /** Addresses and ranges (CIDR) of trusted proxies, whose X-Forwarded-For names the client. */
  readonly trustedProxies: readonly string[];
  /** Origins beside the server's own whose pages may use it; `*` alone: all. */
  readonly corsOrigins: readonly string[];
  /** The file of the only documents that may run; null: all may. */
  readonly trustedDocumentsFile: string | null;
  /** Whether clients may ask for the schema. */
  readonly introspection: boolean;
  readonly maxQueues: number;
  readonly maxCost: number;
  readonly maxEvents: number;
  readonly maxSubscriptions: number;
  readonly rateLimitMax: number;
  readonly rateLimitWindowMs: number;
  /** Maximum age of a snapshot that answers another query; 0 disables that. */
  readonly maxAgeMs: number;
  /** Events that one client may record a minute. */
  readonly recordRateLimit: number;
  readonly eventWindowMs: number;
  readonly maxWaitMs: number;
  /** How many recorded queues there may be. */
  readonly maxKnownQueues: number;
  /** A recorded queue with no jobs and no event for so long is forgotten. */
  readonly queueTtlMs: number;
  /** For how long steps of the history are kept, in ms. */
  readonly historyKeptMs: Readonly<Record<HistoryStep, number>>;
  /** Maximum number of queues with a history; 0 disables it. */
  readonly historyMaxQueues: number;
  /** The file of objectives; null: only names of queues define them. */
  readonly objectivesFile: string | null;
  /** How long running requests may take to finish when the server stops. */
  readonly shutdownGraceMs: number;
  /** The job systems to read; each has a name of its own. */
  readonly sources: readonly SourceConfig[];
  /** How often each kind of job system is read. */
  readonly intervalsMs: Readonly<Record<PolledKind, number>>;
  readonly bullmqReconcileMs: number;
  /** The file of SELECTs for the databases of Postgres; null: there are none. */
  readonly postgresQueryFile: string | null;
  /** The file of rules for alerts; null: there are none. */
  readonly alertsFile: string | null;
  readonly alertmanagerUrls: readonly string[];
  readonly alertWebhooks: readonly WebhookConfig[];
  readonly alertHeartbeatUrl: string | null;
  /** Maximum number of queues that are exported to Prometheus, StatsD and OpenTelemetry. */
  readonly metricsMaxQueues: number;
  /** Null: gauges are not sent. */
  readonly statsd: StatsdAddress | null;
  /** Null: metrics are not sent by OTLP. */
  readonly otlpMetrics: OtlpMetricsSettings | null;
  /** Null: traces are not sent by OTLP. */
  readonly otlpTraces: OtlpTracesSettings | null;
  /** What is allowed, but probably not meant. */
  readonly warnings: readonly SettingWarning[];
}

/**
 * Reads all settings from the environment; one that is empty counts as not set.
 *
 * @throws StartError that lists everything that is wrong, one line each, with what was expected. Values that may hold a
 *   password are not repeated.
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const given = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ""),
  );
  const parsed = settings.safeParse(given);
  const issues = (parsed.error?.issues ?? []).map((issue) => {
    const name = String(issue.path[0]);
    const got = /_(URL|SECRET)$/.test(name) ? "" : `, got ${JSON.stringify(given[name])}`;
    return `${name}: ${issue.message}${got}`;
  });
  const otlp = readOtlp(given);
  const problems = [
    ...issues,
    ...otlp.problems,
    ...nameClashes(given),
    ...queriesOfNothing(given),
    ...receiverProblems(given),
    ...openToAll(given),
  ];
  if (!parsed.success || problems.length > 0) {
    throw new StartError(`These settings are wrong:\n${problems.map((line) => `  ${line}`).join("\n")}`);
  }
  const set = parsed.data;
  const sources = sourceKindNames.flatMap((kind) => set[urlSetting(kind)]);
  return Object.freeze({
    host: set.HOST,
    port: set.PORT,
    basePath: set.BASE_PATH,
    redisUrls: set.REDIS_URL,
    dataDir: set.DATA_DIR,
    keyPrefix: set.KEY_PREFIX,
    logLevel: set.LOG_LEVEL,
    tokensFile: set.API_TOKENS_FILE ?? null,
    trustedProxies: set.TRUST_PROXY,
    corsOrigins: set.CORS_ORIGINS,
    trustedDocumentsFile: set.TRUSTED_DOCUMENTS_FILE ?? null,
    introspection: set.INTROSPECTION === "on",
    maxQueues: set.MAX_QUEUES,
    maxCost: set.MAX_COST,
    maxEvents: set.MAX_EVENTS,
    maxSubscriptions: set.MAX_SUBSCRIPTIONS,
    rateLimitMax: set.RATE_LIMIT_MAX,
    rateLimitWindowMs: set.RATE_LIMIT_WINDOW,
    maxAgeMs: set.MAX_AGE,
    recordRateLimit: set.RECORD_RATE_LIMIT,
    eventWindowMs: set.EVENT_WINDOW,
    maxWaitMs: set.MAX_WAIT,
    maxKnownQueues: set.MAX_KNOWN_QUEUES,
    queueTtlMs: set.QUEUE_TTL,
    historyKeptMs: {
      TEN_SECONDS: set.HISTORY_TEN_SECONDS,
      ONE_MINUTE: set.HISTORY_MINUTES,
      ONE_HOUR: set.HISTORY_HOURS,
    },
    historyMaxQueues: set.HISTORY_MAX_QUEUES,
    objectivesFile: set.OBJECTIVES_FILE ?? null,
    shutdownGraceMs: set.SHUTDOWN_GRACE,
    sources,
    intervalsMs: Object.fromEntries(
      polledKindNames.map((kind) => [kind, set[intervalSetting(kind)]]),
    ) as Record<PolledKind, number>,
    bullmqReconcileMs: set.BULLMQ_RECONCILE,
    postgresQueryFile: set.POSTGRES_QUERY_FILE ?? null,
    alertsFile: set.ALERTS_FILE ?? null,
    alertmanagerUrls: set.ALERTMANAGER_URL,
    alertWebhooks: webhooksOf(set.ALERT_WEBHOOK_URL, set.ALERT_WEBHOOK_SECRET),
    alertHeartbeatUrl: set.ALERT_HEARTBEAT_URL ?? null,
    metricsMaxQueues: set.METRICS_MAX_QUEUES,
    statsd: set.STATSD_URL,
    otlpMetrics: otlp.metrics,
    otlpTraces: otlp.traces,
    warnings: [
      ...misspeltSettings(Object.keys(given), Object.keys(settings.shape)),
      ...unverifiedTls(set.REDIS_URL, sources),
      ...otlp.warnings,
    ],
  });
}

/** A file of SELECTs needs a database to send them to. */
function queriesOfNothing(given: Readonly<Record<string, string | undefined>>): readonly string[] {
  if (given.POSTGRES_QUERY_FILE === undefined || given.POSTGRES_URL !== undefined) return [];
  return ["POSTGRES_QUERY_FILE: expected POSTGRES_URL beside it, the database to query"];
}

/** Without tokens a client that reaches the port may read and write, so only this machine may reach it. */
function openToAll({
  HOST,
  API_TOKENS_FILE,
}: Readonly<Record<string, string | undefined>>): readonly string[] {
  if (API_TOKENS_FILE !== undefined || HOST === undefined || isLoopback(HOST)) return [];
  return [
    `HOST: expected 127.0.0.1, ::1 or localhost while there are no tokens, since every client that reaches the port may do everything, got ${JSON.stringify(HOST)}. Make a token with "queue-latency token" and set API_TOKENS_FILE to listen elsewhere`,
  ];
}
