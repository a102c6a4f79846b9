import type { Config } from "../config.ts";
import { messageOf } from "../core/errors.ts";
import type { FollowSink } from "../core/log-following.ts";
import { type Logger, silentLogger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import { createAlertRulesFile } from "../settings/alert-rules-file.ts";
import { createObjectives } from "../settings/objectives.ts";
import { createPostgresQueriesFile } from "../settings/postgres-queries-file.ts";
import type { SourceConfig } from "../settings/source-urls.ts";
import { createTokenFile } from "../settings/token-file.ts";
import { createTrustedDocumentsFile } from "../settings/trusted-documents-file.ts";
import { checkHostName, checkListening, checkReachable } from "./check-reachable.ts";
import { checkOwnRedis, checkRedis } from "./check-redis.ts";
import { checkSource } from "./check-source.ts";
import type { Finding, NamedFinding } from "./finding.ts";

export type CreateConfiguredSource = (source: SourceConfig, sink: FollowSink, logger: Logger) => Service;

/** Connects to everything that is configured, all at once. It changes nothing, and sends nothing to receivers of alerts. */
export async function check(
  config: Config,
  createSource: CreateConfiguredSource,
): Promise<readonly NamedFinding[]> {
  const { host, port, basePath, redisUrls, dataDir, statsd, otlpMetrics, otlpTraces, sources } = config;
  const checks: readonly (readonly [part: string, finding: Promise<Finding>])[] = [
    ["server", checkListening(host, port, basePath)],
    ["redis", redisUrls.length === 0 ? checkOwnRedis(dataDir) : checkRedis(redisUrls)],
    ...sources.map(
      (source) => [source.name, checkSource((sink, logger) => createSource(source, sink, logger))] as const,
    ),
    ...files(config).map(([part, path, file]) => [part, checkFile(path, file)] as const),
    ...config.alertmanagerUrls.map((url) => ["alertmanager", checkReachable(url)] as const),
    ...config.alertWebhooks.map(({ url }) => ["webhook", checkReachable(url)] as const),
    ...(config.alertHeartbeatUrl === null
      ? []
      : [["heartbeat", checkReachable(config.alertHeartbeatUrl)] as const]),
    ...(otlpMetrics === null ? [] : [["otlp", checkReachable(otlpMetrics.url)] as const]),
    ...(otlpTraces === null ? [] : [["traces", checkReachable(otlpTraces.url)] as const]),
    ...(statsd === null ? [] : [["statsd", checkHostName(statsd.host, statsd.port)] as const]),
  ];
  const findings = await Promise.all(checks.map(async ([part, finding]) => ({ part, ...(await finding) })));
  const warnings = config.warnings.map(
    ({ message, ...fields }): NamedFinding => ({
      part: "settings",
      status: "warning",
      found: `${Object.entries(fields)
        .map(([name, value]) => `${name} ${value}`)
        .join(", ")}: ${message}`,
    }),
  );
  return [...warnings, ...findings];
}

type CheckedFile = readonly [part: string, path: string, file: Service];

function files(config: Config): readonly CheckedFile[] {
  const { tokensFile, trustedDocumentsFile, alertsFile, objectivesFile, postgresQueryFile, sources } = config;
  const logger = silentLogger;
  const all: readonly (readonly [part: string, path: string | null, create: (path: string) => Service])[] = [
    ["tokens", tokensFile, (path) => createTokenFile({ path, logger, onRevoked() {} })],
    ["documents", trustedDocumentsFile, (path) => createTrustedDocumentsFile(path, logger)],
    ["alert rules", alertsFile, (path) => createAlertRulesFile(path, logger)],
    ["objectives", objectivesFile, (path) => createObjectives({ path, logger })],
    ["queries", postgresQueryFile, (path) => createPostgresQueriesFile(path, sources, logger)],
  ];
  return all.flatMap(([part, path, create]): readonly CheckedFile[] =>
    path === null ? [] : [[part, path, create(path)]],
  );
}

/** Reads it once. */
async function checkFile(path: string, file: Service): Promise<Finding> {
  try {
    await file.start();
    return { status: "ok", found: path };
  } catch (error) {
    return { status: "wrong", found: messageOf(error) };
  } finally {
    await file.stop();
  }
}
