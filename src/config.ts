import { resolve } from "node:path";
import { z } from "zod";
import { StartError } from "./core/errors.ts";

export type SourceKind = "faktory" | "sidekiq" | "bullmq";

/** One job system to read. */
export interface SourceConfig {
  readonly kind: SourceKind;
  /** What stands before the slash in the names of its queues: the kind, or what `?as=` says. */
  readonly name: string;
  /** Without `as`; every other parameter is the source's own business. */
  readonly url: string;
}

/** All settings, checked. Durations are in ms. */
export interface Config {
  readonly host: string;
  readonly port: number;
  /** Null: an own redis-server is started in `dataDir`. */
  readonly redisUrl: string | null;
  readonly dataDir: string;
  readonly keyPrefix: string;
  readonly logLevel: string;
  readonly maxQueues: number;
  readonly maxCost: number;
  readonly maxEvents: number;
  readonly maxSubscriptions: number;
  readonly rateLimitMax: number;
  readonly rateLimitWindowMs: number;
  readonly eventWindowMs: number;
  readonly maxWaitMs: number;
  /** The job systems to read; no two have one name. */
  readonly sources: readonly SourceConfig[];
  readonly faktoryIntervalMs: number;
  readonly sidekiqIntervalMs: number;
  readonly bullmqReconcileMs: number;
}

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** A duration with its unit, such as 250ms, 60s, 5m, 12h or 7d. */
function duration(defaultValue: string, low: string, high: string) {
  return z
    .string()
    .default(defaultValue)
    .transform((text, context) => {
      const ms = durationMs(text);
      if (ms !== null && ms >= Number(durationMs(low)) && ms <= Number(durationMs(high))) return ms;
      context.addIssue({
        code: "custom",
        message: `expected a duration from ${low} to ${high}, such as ${defaultValue}`,
      });
      return z.NEVER;
    });
}

function durationMs(text: string): number | null {
  const [, amount, unit] = /^(\d+)(ms|s|m|h|d)$/.exec(text) ?? [];
  return amount === undefined ? null : Number(amount) * unitMs[unit as keyof typeof unitMs];
}

function whole(defaultValue: number, low: number, high: number) {
  return z
    .string()
    .default(String(defaultValue))
    .transform((text, context) => {
      const value = Number(text);
      if (/^\d+$/.test(text) && value >= low && value <= high) return value;
      context.addIssue({ code: "custom", message: `expected a whole number from ${low} to ${high}` });
      return z.NEVER;
    });
}

function url(protocols: readonly string[], expected: string) {
  return z
    .string()
    .optional()
    .transform((text, context) => {
      if (text === undefined) return null;
      if (isUrl(text, protocols)) return text;
      context.addIssue({ code: "custom", message: `expected ${expected}` });
      return z.NEVER;
    });
}

/** URLs of one kind of job system, separated by spaces. */
function sources(kind: SourceKind, protocols: readonly string[], expected: string) {
  return z
    .string()
    .optional()
    .transform((text, context) => {
      const texts = text === undefined ? [] : urlsIn(text);
      return texts.map((each, index): SourceConfig => {
        const problem = isUrl(each, protocols) ? nameProblem(each) : expected;
        if (problem === null) return sourceOf(kind, each);
        const which =
          texts.length === 1 ? "" : `, for each; this is about URL ${index + 1} of ${texts.length}`;
        context.addIssue({ code: "custom", message: `expected ${problem}${which}` });
        return z.NEVER;
      });
    });
}

/** At least one, which may be empty. */
function urlsIn(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

/** What was expected of `?as=`; null when it is right, or absent. */
function nameProblem(url: string): string | null {
  const names = new URL(url).searchParams.getAll("as");
  if (!names.every((name) => /^[a-z0-9._-]{1,50}$/.test(name)) || names.length > 1) {
    return "one name of 1 to 50 small letters, digits or any of . _ - behind ?as=";
  }
  return names[0] === "events" ? 'another name than "events" behind ?as=, for it means events' : null;
}

function sourceOf(kind: SourceKind, text: string): SourceConfig {
  const url = new URL(text);
  const name = url.searchParams.get("as");
  if (name === null) return { kind, name: kind, url: text };
  url.searchParams.delete("as");
  return { kind, name, url: url.href };
}

function isUrl(text: string, protocols: readonly string[]): boolean {
  const parsed = URL.parse(text);
  return (
    parsed !== null &&
    protocols.includes(parsed.protocol) &&
    text.startsWith(`${parsed.protocol}//`) &&
    parsed.hostname !== "" &&
    /^\/?\d*$/.test(parsed.pathname) &&
    [parsed.username, parsed.password].every(isDecodable)
  );
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

const settings = z.object({
  HOST: z.string().default("127.0.0.1"),
  PORT: whole(4000, 0, 65_535),
  REDIS_URL: url(
    ["redis:", "rediss:"],
    "redis://[user:password@]host[:port][/db], or rediss:// for TLS; one node",
  ),
  DATA_DIR: z
    .string()
    .default("./.data")
    .transform((path) => resolve(path)),
  KEY_PREFIX: z
    .string()
    .regex(/^[\w.:-]{1,50}$/, "expected 1 to 50 letters, digits or any of _ . : -")
    .default("ql"),
  LOG_LEVEL: z
    .enum(["debug", "info", "warn", "error", "silent"], "expected debug, info, warn, error or silent")
    .default("info"),
  MAX_QUEUES: whole(100, 1, 10_000),
  MAX_COST: whole(500, 1, 1_000_000),
  MAX_EVENTS: whole(1000, 1, 10_000),
  MAX_SUBSCRIPTIONS: whole(50, 1, 100_000),
  RATE_LIMIT_MAX: whole(6000, 1, 1_000_000_000),
  RATE_LIMIT_WINDOW: duration("60s", "1s", "1d"),
  EVENT_WINDOW: duration("5m", "1s", "1d"),
  MAX_WAIT: duration("7d", "1s", "3650d"),
  FAKTORY_URL: sources(
    "faktory",
    ["tcp:", "tcp+tls:"],
    "tcp://[:password@]host[:port][?as=NAME], or tcp+tls:// for TLS",
  ),
  FAKTORY_INTERVAL: duration("1s", "100ms", "1h"),
  SIDEKIQ_URL: sources(
    "sidekiq",
    ["redis:", "rediss:"],
    "redis://[user:password@]host[:port][/db][?namespace=NAMESPACE&as=NAME], or rediss:// for TLS",
  ),
  SIDEKIQ_INTERVAL: duration("1s", "100ms", "1h"),
  BULLMQ_URL: sources(
    "bullmq",
    ["redis:", "rediss:"],
    "redis://[user:password@]host[:port][/db][?prefix=PREFIX&as=NAME], or rediss:// for TLS",
  ),
  BULLMQ_RECONCILE: duration("10s", "1s", "1h"),
});

const sourceSettings = { FAKTORY_URL: "faktory", SIDEKIQ_URL: "sidekiq", BULLMQ_URL: "bullmq" } as const;

/**
 * Names that more than one source has, one line for each. It reads the text again, since names can clash between settings
 * of which one is wrong otherwise.
 */
function nameClashes(given: Readonly<Record<string, string | undefined>>): readonly string[] {
  const settingsByName = new Map<string, string[]>();
  for (const [setting, kind] of Object.entries(sourceSettings)) {
    for (const text of urlsIn(given[setting] ?? "")) {
      if (!URL.canParse(text) || nameProblem(text) !== null) continue;
      const { name } = sourceOf(kind, text);
      settingsByName.set(name, [...(settingsByName.get(name) ?? []), setting]);
    }
  }
  return [...settingsByName]
    .filter(([, where]) => where.length > 1)
    .map(
      ([name, where]) =>
        `${[...new Set(where)].join(", ")}: expected a name of its own for each source, behind ?as=, got ${where.length} named "${name}"`,
    );
}

/**
 * Reads all settings from the environment; one that is empty counts as not set.
 *
 * @throws StartError that lists everything that is wrong, one line each, with what was expected. Values are not repeated
 *   where they may hold a password.
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const given = Object.fromEntries(
    Object.entries(env).filter(([, value]) => value !== undefined && value !== ""),
  );
  const parsed = settings.safeParse(given);
  const issues = (parsed.error?.issues ?? []).map((issue) => {
    const name = String(issue.path[0]);
    const got = name.endsWith("_URL") ? "" : `, got ${JSON.stringify(given[name])}`;
    return `${name}: ${issue.message}${got}`;
  });
  const problems = [...issues, ...nameClashes(given)];
  if (!parsed.success || problems.length > 0) {
    throw new StartError(`These settings are wrong:\n${problems.map((line) => `  ${line}`).join("\n")}`);
  }
  const set = parsed.data;
  return Object.freeze({
    host: set.HOST,
    port: set.PORT,
    redisUrl: set.REDIS_URL,
    dataDir: set.DATA_DIR,
    keyPrefix: set.KEY_PREFIX,
    logLevel: set.LOG_LEVEL,
    maxQueues: set.MAX_QUEUES,
    maxCost: set.MAX_COST,
    maxEvents: set.MAX_EVENTS,
    maxSubscriptions: set.MAX_SUBSCRIPTIONS,
    rateLimitMax: set.RATE_LIMIT_MAX,
    rateLimitWindowMs: set.RATE_LIMIT_WINDOW,
    eventWindowMs: set.EVENT_WINDOW,
    maxWaitMs: set.MAX_WAIT,
    sources: [...set.FAKTORY_URL, ...set.SIDEKIQ_URL, ...set.BULLMQ_URL],
    faktoryIntervalMs: set.FAKTORY_INTERVAL,
    sidekiqIntervalMs: set.SIDEKIQ_INTERVAL,
    bullmqReconcileMs: set.BULLMQ_RECONCILE,
  });
}
