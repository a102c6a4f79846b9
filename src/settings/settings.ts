import { z } from "zod";
import { httpUrl, httpUrls, webhookSecrets } from "./alert-receivers.ts";
import { addresses, duration, origins, path, whole } from "./fields.ts";
import { otlpSettings } from "./otlp.ts";
import { redisNodes } from "./redis-nodes.ts";
import { sourceSettings } from "./source-urls.ts";
import { statsdUrl } from "./statsd-url.ts";

/** All settings, in the order in which `--help` lists them. Durations become ms. */
export const settings = z.object({
  HOST: z.string().default("127.0.0.1"),
  PORT: whole(4000, 0, 65_535),
  BASE_PATH: z
    .string()
    .regex(/^(\/[\w.~-]+)*\/?$/, "expected a path such as /queues")
    .transform((text) => text.replace(/\/$/, ""))
    .default(""),
  REDIS_URL: redisNodes(),
  DATA_DIR: path().prefault("./.data"),
  KEY_PREFIX: z
    .string()
    .regex(/^[\w.:-]{1,50}$/, "expected 1 to 50 letters, digits or any of _ . : -")
    .default("ql"),
  LOG_LEVEL: z
    .enum(["debug", "info", "warn", "error", "silent"], "expected debug, info, warn, error or silent")
    .default("info"),
  API_TOKENS_FILE: path().optional(),
  TRUST_PROXY: addresses(),
  CORS_ORIGINS: origins(),
  TRUSTED_DOCUMENTS_FILE: path().optional(),
  INTROSPECTION: z.enum(["on", "off"], "expected on or off").default("on"),
  MAX_QUEUES: whole(100, 1, 10_000),
  MAX_COST: whole(500, 1, 1_000_000),
  MAX_EVENTS: whole(1000, 1, 10_000),
  MAX_SUBSCRIPTIONS: whole(50, 1, 100_000),
  RATE_LIMIT_MAX: whole(6000, 1, 1_000_000_000),
  RATE_LIMIT_WINDOW: duration("60s", "1s", "1d"),
  MAX_AGE: duration("100ms", "0", "5s"),
  RECORD_RATE_LIMIT: whole(600_000, 1, 1_000_000_000),
  EVENT_WINDOW: duration("5m", "1s", "1d"),
  MAX_WAIT: duration("7d", "1s", "3650d"),
  MAX_KNOWN_QUEUES: whole(100_000, 1, 10_000_000),
  QUEUE_TTL: duration("7d", "1s", "3650d"),
  HISTORY_TEN_SECONDS: duration("6h", "1h", "7d"),
  HISTORY_MINUTES: duration("48h", "2h", "60d"),
  HISTORY_HOURS: duration("90d", "1d", "3650d"),
  HISTORY_MAX_QUEUES: whole(1000, 0, 100_000),
  OBJECTIVES_FILE: path().optional(),
  SHUTDOWN_GRACE: duration("10s", "100ms", "1h"),
  ...sourceSettings(),
  BULLMQ_RECONCILE: duration("10s", "1s", "1h"),
  POSTGRES_QUERY_FILE: path().optional(),
  ALERTS_FILE: path().optional(),
  ALERTMANAGER_URL: httpUrls(),
  ALERT_WEBHOOK_URL: httpUrls(),
  ALERT_WEBHOOK_SECRET: webhookSecrets(),
  ALERT_HEARTBEAT_URL: httpUrl(),
  METRICS_MAX_QUEUES: whole(1000, 1, 50_000),
  STATSD_URL: statsdUrl(),
  ...otlpSettings(),
});

export type SettingName = keyof typeof settings.shape;

/** A setting as `--help` shows it. */
export interface ListedSetting {
  readonly name: SettingName;
  /** Empty: it has none. */
  readonly defaultText: string;
}

/** All settings, in order. */
export function listSettings(): readonly ListedSetting[] {
  const { properties = {} } = z.toJSONSchema(settings, { io: "input", unrepresentable: "any" });
  return (Object.keys(settings.shape) as SettingName[]).map((name) => {
    const property = properties[name];
    return { name, defaultText: String((typeof property === "object" ? property.default : null) ?? "") };
  });
}
