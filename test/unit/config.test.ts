import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { type Config, loadConfig } from "../../src/config.ts";
import { StartError } from "../../src/core/errors.ts";
import { postgresForm, postgresSystemNames } from "../../src/settings/postgres-url.ts";
import { intervalSetting, polledKindNames } from "../../src/settings/source-kinds.ts";

const defaults: Config = {
  host: "127.0.0.1",
  port: 4000,
  basePath: "",
  redisUrls: [],
  dataDir: resolve("./.data"),
  keyPrefix: "ql",
  logLevel: "info",
  tokensFile: null,
  trustedProxies: [],
  corsOrigins: [],
  trustedDocumentsFile: null,
  introspection: true,
  maxQueues: 100,
  maxCost: 500,
  maxEvents: 1000,
  maxSubscriptions: 50,
  rateLimitMax: 6000,
  rateLimitWindowMs: 60_000,
  maxAgeMs: 100,
  recordRateLimit: 600_000,
  eventWindowMs: 5 * 60_000,
  maxWaitMs: 7 * 86_400_000,
  maxKnownQueues: 100_000,
  queueTtlMs: 7 * 86_400_000,
  historyKeptMs: { TEN_SECONDS: 6 * 3_600_000, ONE_MINUTE: 48 * 3_600_000, ONE_HOUR: 90 * 86_400_000 },
  historyMaxQueues: 1000,
  objectivesFile: null,
  shutdownGraceMs: 10_000,
  sources: [],
  intervalsMs: Object.fromEntries(polledKindNames.map((kind) => [kind, 1_000])) as Config["intervalsMs"],
  postgresQueryFile: null,
  bullmqReconcileMs: 10_000,
  alertsFile: null,
  alertmanagerUrls: [],
  alertWebhooks: [],
  alertHeartbeatUrl: null,
  metricsMaxQueues: 1_000,
  statsd: null,
  otlpMetrics: null,
  otlpTraces: null,
  warnings: [],
};

/** What `loadConfig` says is wrong, one line each. */
function problemsOf(env: Readonly<Record<string, string | undefined>>): readonly string[] {
  try {
    loadConfig(env);
  } catch (error) {
    expect(error).toBeInstanceOf(StartError);
    const [first, ...lines] = (error as StartError).message.split("\n");
    expect(first).toBe("These settings are wrong:");
    return lines.map((line) => line.trim());
  }
  return [];
}

describe("with nothing set", () => {
  test("every setting has its default", () => {
    expect(loadConfig({})).toMatchObject(defaults);
  });

  test("an empty value counts as nothing, and so does every variable that is not ours", () => {
    const names = Object.keys(defaults).map((name) => name.replace(/[A-Z]/g, "_$&").toUpperCase());
    const durationNames = allDurations.map(({ name }) => name);
    const urlNames = ["REDIS_URL", "FAKTORY_URL", "SIDEKIQ_URL", "BULLMQ_URL", "STATSD_URL"];
    const ours = [
      ...names,
      ...durationNames,
      ...urlNames,
      "API_TOKENS_FILE",
      "OBJECTIVES_FILE",
      "TRUST_PROXY",
    ];
    const empty = Object.fromEntries(ours.map((name) => [name, ""]));
    expect(loadConfig({ ...empty, MAX_QUEUES: undefined, HOME: "/", PATH: "", port: "x" })).toMatchObject(
      defaults,
    );
  });

  test("the result cannot be changed", () => {
    expect(Object.isFrozen(loadConfig({}))).toBe(true);
  });
});

const wholeNumbers = [
  { name: "PORT", field: "port", low: 0, high: 65_535 },
  { name: "MAX_QUEUES", field: "maxQueues", low: 1, high: 10_000 },
  { name: "MAX_COST", field: "maxCost", low: 1, high: 1_000_000 },
  { name: "MAX_EVENTS", field: "maxEvents", low: 1, high: 10_000 },
  { name: "MAX_SUBSCRIPTIONS", field: "maxSubscriptions", low: 1, high: 100_000 },
  { name: "MAX_KNOWN_QUEUES", field: "maxKnownQueues", low: 1, high: 10_000_000 },
  { name: "RATE_LIMIT_MAX", field: "rateLimitMax", low: 1, high: 1_000_000_000 },
  { name: "METRICS_MAX_QUEUES", field: "metricsMaxQueues", low: 1, high: 50_000 },
] as const;

describe.each(wholeNumbers)("$name", ({ name, field, low, high }) => {
  test(`is a whole number from ${low} to ${high}`, () => {
    for (const value of [low, low + 1, high]) {
      expect(loadConfig({ [name]: String(value) })[field]).toBe(value);
    }
  });

  test.each([
    { given: String(high + 1), why: "too large" },
    { given: String(low - 1), why: "too small" },
    { given: "-5", why: "no sign" },
    { given: "1.5", why: "no fraction" },
    { given: "1e3", why: "no exponent" },
    { given: "0x10", why: "no other base" },
    { given: "1_000", why: "no separators" },
    { given: " 5", why: "no space" },
    { given: "five", why: "no words" },
    { given: "NaN", why: "no number at all" },
    { given: "Infinity", why: "no end" },
    { given: "9".repeat(400), why: "larger than any number" },
  ])(`is not $given: $why`, ({ given }) => {
    expect(problemsOf({ [name]: given })).toEqual([
      `${name}: expected a whole number from ${low} to ${high}, got "${given}"`,
    ]);
  });
});

const durations = [
  { name: "RATE_LIMIT_WINDOW", field: "rateLimitWindowMs", low: "1s", high: "1d", standard: "60s" },
  { name: "EVENT_WINDOW", field: "eventWindowMs", low: "1s", high: "1d", standard: "5m" },
  { name: "MAX_WAIT", field: "maxWaitMs", low: "1s", high: "3650d", standard: "7d" },
  { name: "QUEUE_TTL", field: "queueTtlMs", low: "1s", high: "3650d", standard: "7d" },
  { name: "SHUTDOWN_GRACE", field: "shutdownGraceMs", low: "100ms", high: "1h", standard: "10s" },
  { name: "BULLMQ_RECONCILE", field: "bullmqReconcileMs", low: "1s", high: "1h", standard: "10s" },
] as const;

const intervals = polledKindNames.map((kind) => ({
  ...{ name: intervalSetting(kind), low: "100ms", high: "1h", standard: "1s" },
  read: ({ intervalsMs }: Config) => intervalsMs[kind],
}));
const allDurations = [
  ...durations.map(({ field, ...row }) => ({ ...row, read: (config: Config) => config[field] })),
  ...intervals,
];

describe.each(allDurations)("$name", ({ name, read, low, high, standard }) => {
  test.each([
    { given: "1500ms", ms: 1_500 },
    { given: "1.5s", ms: 1_500 },
    { given: "90s", ms: 90_000 },
    { given: "2m", ms: 120_000 },
    { given: "1h", ms: 3_600_000 },
  ])("takes $given for $ms ms", ({ given, ms }) => {
    expect(read(loadConfig({ [name]: given }))).toBe(ms);
  });

  test(`reaches from ${low} to ${high}`, () => {
    expect(problemsOf({ [name]: low })).toEqual([]);
    expect(problemsOf({ [name]: high })).toEqual([]);
  });

  test.each([
    { given: "60", why: "a unit is missing" },
    { given: "0s", why: "too short" },
    { given: "1ms", why: "too short" },
    { given: "3651d", why: "too long" },
    { given: "1,5h", why: "a fraction has a point" },
    { given: "1.h", why: "half a fraction" },
    { given: "-5m", why: "no sign" },
    { given: "5 m", why: "no space" },
    { given: "5M", why: "units are small letters" },
    { given: "1w", why: "no such unit" },
    { given: "m", why: "no amount" },
    { given: "1m30s", why: "one amount only" },
    { given: `${"9".repeat(400)}s`, why: "longer than any time" },
  ])("is not $given: $why", ({ given }) => {
    expect(problemsOf({ [name]: given })).toEqual([
      `${name}: expected a duration from ${low} to ${high}, such as ${standard}, got "${given}"`,
    ]);
  });
});

describe("MAX_AGE", () => {
  test.each([
    { given: "0", ms: 0 },
    { given: "1ms", ms: 1 },
    { given: "5s", ms: 5_000 },
  ])("takes $given for $ms ms", ({ given, ms }) => {
    expect(loadConfig({ MAX_AGE: given }).maxAgeMs).toBe(ms);
  });

  test.each([
    { given: "6s", why: "too long" },
    { given: "100", why: "a unit is missing" },
  ])("is not $given: $why", ({ given }) => {
    expect(problemsOf({ MAX_AGE: given })).toEqual([
      `MAX_AGE: expected a duration from 0 to 5s, such as 100ms, got "${given}"`,
    ]);
  });
});

const urls = [
  {
    name: "REDIS_URL",
    kind: null,
    good: [
      "redis://localhost",
      "redis://127.0.0.1:6380/2",
      "rediss://user:secret@redis.example.org:6379",
      "redis://:secret@[::1]:6379",
      "redis://:one,secret@host",
      "redis://user%40x:s%23%2F%3F%25@host?db=3",
      "rediss://host?tls=insecure",
      "unix:///run/redis.sock?db=1",
      "redis+unix://user:secret@/run/redis%20a.sock",
      "redis+sentinel://user:secret@a:26379,b,[::1]:1/main?db=1&sentinelUser=u&sentinelPassword=p",
      "rediss+sentinel://a/main?tls=insecure",
    ],
    bad: [
      "localhost:6379",
      "http://localhost",
      "redis:localhost",
      "redis://",
      "redis://secret@host:99999",
      "tcp://host",
      "redis://host redis://other",
      "redis://host:6379,",
      "redis://host,other:6379",
      "redis://host,other,third",
      "redis://host/1?db=2",
      "redis://host/#secret",
      "unix://run/redis.sock",
      "unix://",
      "/run/redis.sock",
      "redis+sentinel://host",
      "redis+sentinel://host/main/0",
      "redis+sentinel://:secret%@host/main",
    ],
    expected: "expected redis://[user:password@]host[:port][/db], or rediss:// for TLS",
  },
  {
    name: "FAKTORY_URL",
    kind: "faktory",
    good: ["tcp://localhost", "tcp://:secret@localhost:7419", "tcp+tls://:secret@faktory.example.org:7419"],
    bad: [
      "localhost:7419",
      "http://localhost",
      "tcp:localhost",
      "tcp://",
      "tcp://:secret@host:99999",
      "redis://host",
    ],
    expected: "expected tcp://[:password@]host[:port][?paused=A,B&as=NAME], or tcp+tls:// for TLS",
  },
  {
    name: "SIDEKIQ_URL",
    kind: "sidekiq",
    good: [
      "redis://localhost",
      "rediss://user:secret@[::1]:6380/3?namespace=app%20one",
      "redis+sentinel://a:1,b:2/main?namespace=app",
    ],
    bad: ["localhost", "tcp://host", "redis://:secret@host:99999", "redis://:secret@host/name", " "],
    expected:
      "expected redis://[user:password@]host[:port][/db][?namespace=NAMESPACE&as=NAME], or rediss:// for TLS",
  },
  {
    name: "CELERY_URL",
    kind: "celery",
    good: ["redis://localhost:6379/2", "rediss://u:secret@h?queues=a&prefix=p:&steps=0,5&timeHeader=sent"],
    bad: ["localhost", "redis:///1"],
    expected:
      "expected redis://[user:password@]host[:port][/db][?queues=A,B&prefix=PREFIX&steps=0,3,6,9&timeHeader=NAME&as=NAME], or rediss:// for TLS",
  },
  {
    name: "RQ_URL",
    kind: "rq",
    good: ["redis://localhost:6379/2", "rediss://u:secret@h?queues=a,b"],
    bad: ["localhost", "redis:///1"],
    expected: "expected redis://[user:password@]host[:port][/db][?queues=A,B&as=NAME], or rediss:// for TLS",
  },
  {
    name: "LARAVEL_URL",
    kind: "laravel",
    good: ["redis://localhost:6379/2", "rediss://u:secret@h?prefix=app-database-"],
    bad: ["localhost", "redis:///1"],
    expected:
      "expected redis://[user:password@]host[:port][/db][?queues=A,B&prefix=PREFIX&as=NAME], or rediss:// for TLS",
  },
  {
    name: "RESQUE_URL",
    kind: "resque",
    good: ["redis://localhost:6379/2", "rediss://u:secret@h?namespace=app"],
    bad: ["localhost", "redis:///1"],
    expected:
      "expected redis://[user:password@]host[:port][/db][?queues=A,B&namespace=NAMESPACE&as=NAME], or rediss:// for TLS",
  },
  {
    name: "DRAMATIQ_URL",
    kind: "dramatiq",
    good: ["redis://localhost:6379/2", "rediss://u:secret@h?namespace=app"],
    bad: ["localhost", "redis:///1"],
    expected:
      "expected redis://[user:password@]host[:port][/db][?queues=A,B&namespace=NAMESPACE&as=NAME], or rediss:// for TLS",
  },
  {
    name: "HUEY_URL",
    kind: "huey",
    good: ["redis://localhost:6379/2", "rediss://u:secret@h?queues=a"],
    bad: ["localhost", "redis:///1"],
    expected: "expected redis://[user:password@]host[:port][/db][?queues=A,B&as=NAME], or rediss:// for TLS",
  },
  {
    name: "ARQ_URL",
    kind: "arq",
    good: ["redis://localhost:6379/2", "rediss://u:secret@h?queues=arq:queue,mail"],
    bad: ["localhost", "redis:///1"],
    expected: "expected redis://[user:password@]host[:port][/db][?queues=A,B&as=NAME], or rediss:// for TLS",
  },
  {
    name: "BULLMQ_URL",
    kind: "bullmq",
    good: [
      "redis://localhost:6379",
      "redis://:secret@localhost/1?prefix={bull}",
      "unix:///run/redis.sock?prefix=p",
    ],
    bad: ["localhost", "tcp://host", "redis://:secret%@host", "redis:///1"],
    expected:
      "expected redis://[user:password@]host[:port][/db][?prefix=PREFIX&queues=A,B&as=NAME], or rediss:// for TLS",
  },
] as const;

test.each([
  "localhost",
  "mysql://a@b/c",
  "postgres://host/database",
  "postgres://user@host",
  "postgres://user@/database",
  "postgres://secret%@host/database",
  "postgres://user:secret@host:99999/database",
  " ",
])("POSTGRES_URL may not be %s", (url) => {
  expect(problemsOf({ POSTGRES_URL: url })).toEqual([`POSTGRES_URL: expected ${postgresForm}`]);
});

describe.each(urls)("$name", ({ name, kind, good, bad, expected }) => {
  test.each(good)("may be %s", (url) => {
    const { redisUrls, sources } = loadConfig({ [name]: url });
    expect(kind === null ? redisUrls : sources).toEqual(kind === null ? [url] : [{ kind, name: kind, url }]);
  });

  test.each(bad)("is not %s, and is not repeated, for it may hold a password", (given) => {
    const [problem, ...others] = problemsOf({ [name]: given });
    expect(others).toEqual([]);
    expect(problem).toContain(`${name}: ${expected}`);
    // The same words whatever was given.
    expect(problem).toBe(problemsOf({ [name]: "x" })[0]);
    expect(problem).not.toContain("secret");
    expect(problem).toContain("percent-encode reserved characters");
  });
});

describe("parameters of a URL", () => {
  const ofRedis = "expected only these parameters behind the ?: db, tls, ca";
  const missing = "/nonexistent/ca.pem";

  test.each([
    { given: { REDIS_URL: "redis://host?namspace=app" }, problem: ofRedis, why: "nothing is close" },
    {
      given: { SIDEKIQ_URL: "redis://host?namspace=secret" },
      problem:
        "expected only these parameters behind the ?: as, namespace, db, tls, ca (did you mean namespace?)",
      why: "a letter is missing",
    },
    {
      given: { BULLMQ_URL: "redis://host?prefx=secret" },
      problem:
        "expected only these parameters behind the ?: as, prefix, queues, db, tls, ca (did you mean prefix?)",
      why: "a letter is missing",
    },
    {
      given: { FAKTORY_URL: "tcp+tls://host?sa=secret" },
      problem: "expected only these parameters behind the ?: as, paused, tls, ca (did you mean as?)",
      why: "two letters are swapped",
    },
    { given: { REDIS_URL: "redis://user:1?secret@host" }, problem: ofRedis, why: "a password's rest" },
    { given: { REDIS_URL: "redis://h?sentinelPassword=secret" }, problem: ofRedis, why: "no Sentinel" },
    { given: { REDIS_URL: "rediss://h?db=1&db=1" }, problem: "expected the parameter db once", why: "twice" },
    {
      given: { REDIS_URL: "redis://h?tls=insecure" },
      problem: "expected rediss:// or rediss+sentinel:// with the parameters tls and ca",
      why: "there is no TLS",
    },
    {
      given: { FAKTORY_URL: "tcp://h?tls=insecure" },
      problem: "expected tcp+tls:// with the parameters tls and ca",
      why: "there is no TLS",
    },
    {
      given: { REDIS_URL: "rediss://h?tls=none" },
      problem: "expected tls=insecure, or no parameter tls",
      why: "no such way",
    },
    {
      given: { REDIS_URL: `rediss://h?ca=${missing}` },
      problem: `expected a readable file of certificates (PEM) behind ca=, but with ${missing}: ENOENT`,
      why: "no such file",
    },
    {
      given: { SIDEKIQ_URL: "rediss://h?ca=/dev/zero" },
      problem: "with /dev/zero: it is not a regular file",
      why: "a device has no end",
    },
    {
      given: { REDIS_URL: "rediss://h?ca=package.json" },
      problem: "expected a readable file of certificates (PEM) behind ca=, but with package.json: ",
      why: "another file",
    },
    {
      given: { REDIS_URL: "rediss://a?tls=insecure,rediss://b" },
      problem: "expected the same parameters for all nodes of a Redis Cluster; wrong: number 2 of 2",
      why: "other nodes are found later, and need the same",
    },
    { given: { REDIS_URL: "redis://a?x=1,redis://a?x=1" }, problem: ofRedis, why: "of a cluster as well" },
  ])("$given is refused: $why", ({ given, problem }) => {
    const [said, ...others] = problemsOf(given as Record<string, string>);
    expect(others).toEqual([]);
    expect(said).toContain(problem);
    expect(said).not.toContain("secret");
  });
});

describe("warnings", () => {
  test.each([
    { variable: "FAKTORY_INTERVL", meant: "FAKTORY_INTERVAL", why: "a letter is missing" },
    { variable: "RATE_LIMT_MAX", meant: "RATE_LIMIT_MAX", why: "a letter is missing" },
    { variable: "API_TOKEN_FILE", meant: "API_TOKENS_FILE", why: "a plural" },
    { variable: "REDIS_URI", meant: "REDIS_URL", why: "another word for it" },
    { variable: "redis_url", meant: "REDIS_URL", why: "small letters" },
    { variable: "LOGLEVEL", meant: "LOG_LEVEL", why: "no underscore" },
    { variable: "METRICS_QUEUES_MAX", meant: null, why: "too far away" },
    { variable: "REDIS_PORT", meant: null, why: "Kubernetes sets it" },
    { variable: "HOSTS", meant: null, why: "short names are close to those of others" },
    { variable: "HOSTNAME", meant: null, why: "every shell has it" },
    { variable: "PATH", meant: null, why: "every process has it" },
    { variable: "DATABASE_URL", meant: null, why: "another program's" },
    {
      variable: "OTEL_EXPORTER_OTLP_ENDPONT",
      meant: "OTEL_EXPORTER_OTLP_ENDPOINT",
      why: "a letter is missing",
    },
    { variable: "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", meant: null, why: "a standard name, for another program" },
    { variable: "OTEL_LOGS_EXPORTER", meant: null, why: "a standard name, for another program" },
  ])("$variable: $why", ({ variable, meant }) => {
    const { warnings } = loadConfig({ [variable]: "x" });
    expect(warnings).toEqual(
      meant === null
        ? []
        : [
            {
              setting: variable,
              meant,
              message: "unknown setting ignored; it is close to one that exists",
            },
          ],
    );
  });

  test("name what is not verified", () => {
    const { warnings } = loadConfig({
      REDIS_URL: "rediss://:secret@a?tls=insecure,rediss://:secret@b?tls=insecure",
      BULLMQ_URL: "rediss://:secret@c?tls=insecure&as=jobs rediss://d",
    });
    const message = expect.stringMatching(/^TLS certificates are not verified/);
    expect(warnings).toEqual([
      { setting: "REDIS_URL", message },
      { source: "jobs", message },
    ]);
  });
});

describe("the certificate of a Postgres", () => {
  test.each([
    { url: "postgres://u@a/b", isWarned: true, why: "prefer, as in libpq" },
    { url: "postgres://u@a/b?sslmode=allow", isWarned: true, why: "allow" },
    { url: "postgres://u@a/b?sslmode=require", isWarned: true, why: "without an authority" },
    { url: "postgres://u@a/b?sslmode=verify-full", isWarned: false, why: "verified" },
    { url: "postgres://u@a/b?sslmode=verify-ca", isWarned: false, why: "verified but for the name" },
    { url: "postgres://u@a/b?sslrootcert=system", isWarned: false, why: "verify-full, as in libpq" },
    { url: "postgres://u@a/b?sslmode=disable", isWarned: false, why: "no TLS, on purpose" },
    { url: "postgres://u@127.0.0.1/b?sslmode=require", isWarned: false, why: "there is no network path" },
    { url: "postgres://u@localhost/b", isWarned: false, why: "there is no network path" },
    { url: "postgres://u@%2Frun/b", isWarned: false, why: "a socket has no TLS" },
  ])("is warned of where it is not verified: $url, $why", ({ url, isWarned }) => {
    const { warnings } = loadConfig({ POSTGRES_URL: `${url}${url.includes("?") ? "&" : "?"}as=jobs` });
    const message = expect.stringMatching(/^the TLS certificate of a Postgres is not verified/);
    expect(warnings).toEqual(isWarned ? [{ source: "jobs", message }] : []);
  });
});

describe("STATSD_URL", () => {
  test.each([
    { given: "udp://localhost", host: "localhost", port: 8125, why: "StatsD's own port" },
    { given: "udp://statsd.example.org:9125/", host: "statsd.example.org", port: 9125, why: "another one" },
    { given: "udp://[::1]:1", host: "::1", port: 1, why: "an address of IPv6" },
  ])("may be $given: $why", ({ given, host, port }) => {
    expect(loadConfig({ STATSD_URL: given }).statsd).toEqual({ host, port });
  });

  test.each([
    { given: "localhost:8125", why: "there is no scheme" },
    { given: "tcp://localhost:8125", why: "it is sent as datagrams" },
    { given: "udp://localhost:0", why: "no server listens at port 0" },
    { given: "udp://localhost/1", why: "there is nothing behind the host" },
    { given: "udp://secret@localhost", why: "StatsD knows no users" },
    { given: "udp://localhost?prefix=a", why: "there are no parameters" },
  ])("is not $given: $why", ({ given }) => {
    expect(problemsOf({ STATSD_URL: given })).toEqual(["STATSD_URL: expected udp://host[:port]"]);
  });
});

describe("several nodes in REDIS_URL", () => {
  const oneDb = "expected no db behind a node of a Redis Cluster, which has only one; wrong: number";
  const oneAccess =
    "expected the same scheme, user and password for all nodes of a Redis Cluster; wrong: number";

  test.each([
    { given: "redis://a,redis://b:7000,redis://[::1]:7001/", why: "a Redis Cluster" },
    { given: "redis://a,redis://a", why: "a cluster that has one address" },
    { given: "redis://a/0,redis://b", why: "the db that there is" },
    { given: "rediss://u:one,secret@a:1,rediss://u:one,secret@b:1", why: "a password with a comma" },
  ])("may be $given: $why", ({ given }) => {
    expect(loadConfig({ REDIS_URL: given }).redisUrls.join()).toBe(given);
  });

  test("may have blanks behind the commas", () => {
    expect(loadConfig({ REDIS_URL: "redis://a, redis://b" }).redisUrls).toEqual(["redis://a", "redis://b"]);
  });

  test.each([
    { given: "redis://a/1,redis://b/2,redis://c", problems: [`${oneDb} 1, 2 of 3`], why: "a db" },
    { given: "redis://a,rediss://b,redis://c", problems: [`${oneAccess} 2 of 3`], why: "TLS for one" },
    { given: "redis://:secret@a,redis://b", problems: [`${oneAccess} 2 of 2`], why: "no password" },
    { given: "redis://u:secret@a,redis://v:secret@b", problems: [`${oneAccess} 2 of 2`], why: "users" },
    {
      given: "redis://:secret@a,redis://:99secret@host:99999,redis://b/secret,redis://c/3",
      problems: [
        expect.stringMatching(/^expected redis:.* several nodes, .*; wrong: number 2, 3 of 4$/),
        `${oneDb} 4 of 4`,
        `${oneAccess} 4 of 4`,
      ],
      why: "all of it at once",
    },
  ])("are not $given: $why", ({ given, problems }) => {
    const said = problemsOf({ REDIS_URL: given });
    expect(said.map((line) => line.replace("REDIS_URL: ", ""))).toEqual(problems);
    expect(said.join()).not.toContain("secret");
  });
});

describe("job systems", () => {
  test("are as many of each kind as there are URLs, each under the name that ?as= gives it", () => {
    const { sources } = loadConfig({
      FAKTORY_URL: " tcp://a  tcp://:p%20w@b:7419?as=mail.eu ",
      SIDEKIQ_URL: "redis://c/1?namespace=n&as=billing\nredis://d?as=s_2&namespace=%7Bx%7D",
      BULLMQ_URL: "rediss://user:pw@e:6380?as=b-1&prefix=p redis://f",
      POSTGRES_URL:
        "postgres://u:p%2F@g/h?system=que,oban postgresql://u@i:1/j?system=river&as=r postgres://u@k/l?as=all",
    });
    expect(sources).toEqual([
      { kind: "faktory", name: "faktory", url: "tcp://a" },
      { kind: "faktory", name: "mail.eu", url: "tcp://:p%20w@b:7419" },
      { kind: "sidekiq", name: "billing", url: "redis://c/1?namespace=n" },
      { kind: "sidekiq", name: "s_2", url: "redis://d?namespace=%7Bx%7D" },
      { kind: "bullmq", name: "b-1", url: "rediss://user:pw@e:6380?prefix=p" },
      { kind: "bullmq", name: "bullmq", url: "redis://f" },
      {
        ...{ kind: "postgres", name: "que+oban", url: "postgres://u:p%2F@g/h?system=que,oban" },
        prefixes: { que: "que", oban: "oban" },
      },
      {
        ...{ kind: "postgres", name: "r", url: "postgresql://u@i:1/j?system=river&as=r" },
        prefixes: { river: "r" },
      },
      {
        ...{ kind: "postgres", name: "all", url: "postgres://u@k/l?as=all" },
        prefixes: Object.fromEntries(postgresSystemNames.map((name) => [name, `all.${name}`])),
      },
    ]);
  });

  const badName = "expected one name of 1 to 50 small letters, digits or any of . _ - behind ?as=";
  const twice = "expected a name of its own for each source, behind ?as=, got 2 named";
  test.each([
    { given: { FAKTORY_URL: "tcp://:secret@a?as=" }, problems: [`FAKTORY_URL: ${badName}`], why: "no name" },
    {
      given: { FAKTORY_URL: "tcp://a?as=secret/b" },
      problems: [`FAKTORY_URL: ${badName}`],
      why: "a slash ends the name",
    },
    { given: { BULLMQ_URL: "redis://a?as=Secret" }, problems: [`BULLMQ_URL: ${badName}`], why: "a capital" },
    {
      given: { BULLMQ_URL: `redis://a?as=${"x".repeat(51)}` },
      problems: [`BULLMQ_URL: ${badName}`],
      why: "too long",
    },
    {
      given: { SIDEKIQ_URL: "redis://a?as=b&as=c" },
      problems: [`SIDEKIQ_URL: ${badName}`],
      why: "two names for one",
    },
    {
      given: { SIDEKIQ_URL: "redis://a?as=events" },
      problems: ['SIDEKIQ_URL: expected another name than "events" behind ?as=, for it means events'],
      why: "the name of what producers record",
    },
    {
      given: { FAKTORY_URL: "tcp://a tcp://:secret@b" },
      problems: [`FAKTORY_URL: ${twice} "faktory"`],
      why: "two of one kind without a name",
    },
    {
      given: { SIDEKIQ_URL: "redis://a?as=x", BULLMQ_URL: "redis://:secret@b?as=x redis://c" },
      problems: [`SIDEKIQ_URL, BULLMQ_URL: ${twice} "x"`],
      why: "one name in two settings",
    },
    {
      given: { SIDEKIQ_URL: "redis://a?as=faktory", FAKTORY_URL: "tcp://b" },
      problems: [`FAKTORY_URL, SIDEKIQ_URL: ${twice} "faktory"`],
      why: "the name of another kind",
    },
    {
      given: { POSTGRES_URL: "postgres://u:secret@a/b?system=que postgres://u@c/d?system=oban,que" },
      problems: [`POSTGRES_URL: ${twice} "que"`],
      why: "one job system of two databases",
    },
    {
      given: { POSTGRES_URL: "postgres://u:secret@a/b?system=que,sidekiq" },
      problems: [`POSTGRES_URL: expected names behind ?system= out of: ${postgresSystemNames.join(", ")}`],
      why: "a job system that is not read from Postgres",
    },
    {
      given: { POSTGRES_URL: "postgres://u:secret@a/b?sslmode=on" },
      problems: ["POSTGRES_URL: expected sslmode=disable, allow, prefer, require, verify-ca, verify-full"],
      why: "no mode of libpq's",
    },
    {
      given: { POSTGRES_URL: "postgres://u:secret@a/b?sslmode=prefer&sslrootcert=/dev/null" },
      problems: ["POSTGRES_URL: expected sslrootcert with sslmode=require, verify-ca or verify-full"],
      why: "authorities that a server without TLS makes useless",
    },
    {
      given: { POSTGRES_URL: "postgres://u:secret@a/b?sslmode=require&sslrootcert=/dev/null" },
      problems: [
        "POSTGRES_URL: expected a readable file of certificates (PEM) behind sslrootcert=, but with /dev/null: it is not a regular file",
      ],
      why: "no file",
    },
    {
      given: { POSTGRES_URL: "postgres://u:secret@a/b?sslmode=verify-ca&sslrootcert=system" },
      problems: ["POSTGRES_URL: expected sslrootcert=system with sslmode=verify-full"],
      why: "every authority of the system may sign for any name",
    },
    {
      given: { POSTGRES_QUERY_FILE: "queries.yml" },
      problems: ["POSTGRES_QUERY_FILE: expected POSTGRES_URL beside it, the database to query"],
      why: "queries of no database",
    },
    {
      given: { POSTGRES_URL: "postgres://u:secret@a/b?shema=x" },
      problems: [
        "POSTGRES_URL: expected only these parameters behind the ?: as, schema, sslmode, sslrootcert, system (did you mean schema?)",
      ],
      why: "a misspelt parameter",
    },
    {
      given: { FAKTORY_URL: "tcp://a secret tcp://b?as=SECRET tcp://c", PORT: "x" },
      problems: [
        'PORT: expected a whole number from 0 to 65535, got "x"',
        "FAKTORY_URL: expected tcp://[:password@]host[:port][?paused=A,B&as=NAME], or tcp+tls:// for TLS (percent-encode reserved characters in user and password), for each; this is about URL 2 of 4",
        `FAKTORY_URL: ${badName}, for each; this is about URL 3 of 4`,
        `FAKTORY_URL: ${twice} "faktory"`,
      ],
      why: "every mistake is reported at once",
    },
  ])("are refused: $why", ({ given, problems }) => {
    expect(problemsOf(given as Record<string, string>)).toEqual(problems);
    expect(problems.join()).not.toMatch(/secret/i);
  });
});

describe("receivers of alerts", () => {
  const secret = `whsec_${Buffer.alloc(24, "secret").toString("base64")}`;

  test("is taken from five settings", () => {
    const config = loadConfig({
      ALERTS_FILE: "/etc/alerts.yml",
      ALERTMANAGER_URL: " http://a:9093  https://user:p%20w@b/alertmanager ",
      ALERT_WEBHOOK_URL: "https://c/hook?x=1",
      ALERT_WEBHOOK_SECRET: secret,
      ALERT_HEARTBEAT_URL: "https://d/ping",
    });
    expect(config).toMatchObject({
      alertsFile: "/etc/alerts.yml",
      alertmanagerUrls: ["http://a:9093", "https://user:p%20w@b/alertmanager"],
      alertWebhooks: [{ url: "https://c/hook?x=1", secret }],
      alertHeartbeatUrl: "https://d/ping",
    });
  });

  test("has any number of webhooks, with one secret for all or one for each", () => {
    const other = `whsec_${Buffer.alloc(32, "other").toString("base64")}`;
    const webhooksOf = (secrets: string) =>
      loadConfig({
        ALERTS_FILE: "a",
        ALERT_WEBHOOK_URL: "http://a http://b:4190",
        ALERT_WEBHOOK_SECRET: secrets,
      }).alertWebhooks;
    expect(webhooksOf(secret)).toEqual([
      { url: "http://a", secret },
      { url: "http://b:4190", secret },
    ]);
    expect(webhooksOf(`${secret} ${other}`)).toEqual([
      { url: "http://a", secret },
      { url: "http://b:4190", secret: other },
    ]);
  });

  const aUrl = "expected http://[user:password@]host[:port][/path], or https://";
  test.each([
    { given: { ALERT_HEARTBEAT_URL: "d/secret" }, problems: [`ALERT_HEARTBEAT_URL: ${aUrl}`] },
    { given: { ALERT_HEARTBEAT_URL: "ftp://d/secret" }, problems: [`ALERT_HEARTBEAT_URL: ${aUrl}`] },
    { given: { ALERT_HEARTBEAT_URL: "http://%zz@d/secret" }, problems: [`ALERT_HEARTBEAT_URL: ${aUrl}`] },
    {
      given: { ALERTMANAGER_URL: "http://a http://:secret@" },
      problems: [`ALERTMANAGER_URL: ${aUrl}; several are separated by spaces`],
    },
    { given: { ALERT_HEARTBEAT_URL: "http://d:0/secret" }, problems: [`ALERT_HEARTBEAT_URL: ${aUrl}`] },
    {
      given: { ALERT_WEBHOOK_URL: "http://a http://b http://c", ALERT_WEBHOOK_SECRET: `${secret} ${secret}` },
      problems: [
        "ALERT_WEBHOOK_SECRET: expected one, or one for each of the 3 URLs of ALERT_WEBHOOK_URL, got 2",
      ],
    },
    {
      given: { ALERT_WEBHOOK_URL: "http://a ".repeat(11), ALERT_WEBHOOK_SECRET: secret },
      problems: ["ALERT_WEBHOOK_URL: expected at most 10 URLs, got 11"],
    },
    {
      given: { ALERT_WEBHOOK_URL: "http://c" },
      problems: ["ALERT_WEBHOOK_URL: expected ALERT_WEBHOOK_SECRET beside it"],
    },
    {
      given: { ALERT_WEBHOOK_SECRET: secret },
      problems: ["ALERT_WEBHOOK_SECRET: expected ALERT_WEBHOOK_URL beside it"],
    },
    ...[
      "secret",
      "whsec_",
      "whsec_c2VjcmV0",
      `${secret}-`,
      `whsec_${Buffer.alloc(65).toString("base64")}`,
    ].map((wrong) => ({
      given: { ALERT_WEBHOOK_URL: "http://c", ALERT_WEBHOOK_SECRET: wrong },
      problems: [
        "ALERT_WEBHOOK_SECRET: expected whsec_ and 24 to 64 random bytes as base64; make one with: echo whsec_$(openssl rand -base64 32)",
      ],
    })),
  ])("is refused: $given", ({ given, problems }) => {
    const said = problemsOf({ ALERTS_FILE: "a", ...given });
    expect(said).toEqual(problems);
    expect(said.join().replaceAll("_SECRET", "")).not.toMatch(/secret/);
  });

  test("are none with no rules, and so are refused without", () => {
    expect(problemsOf({ ALERTMANAGER_URL: "http://a", ALERT_HEARTBEAT_URL: "http://b" })).toEqual([
      "ALERTMANAGER_URL: expected ALERTS_FILE beside it",
      "ALERT_HEARTBEAT_URL: expected ALERTS_FILE beside it",
    ]);
  });
});

describe("text settings", () => {
  test("take what they are given", () => {
    const { host, dataDir, keyPrefix, logLevel } = loadConfig({
      HOST: "::1",
      DATA_DIR: "/var/lib/queue-latency",
      KEY_PREFIX: "team-1:ql_2.0",
      LOG_LEVEL: "debug",
    });
    expect({ host, dataDir, keyPrefix, logLevel }).toEqual({
      host: "::1",
      dataDir: "/var/lib/queue-latency",
      keyPrefix: "team-1:ql_2.0",
      logLevel: "debug",
    });
  });

  test("DATA_DIR and files are taken from the directory that the server was started in", () => {
    expect(loadConfig({ DATA_DIR: "data" }).dataDir).toBe(resolve(process.cwd(), "data"));
    expect(loadConfig({ OBJECTIVES_FILE: "o.yaml" }).objectivesFile).toBe(resolve(process.cwd(), "o.yaml"));
  });

  test.each(["debug", "info", "warn", "error", "silent"])("LOG_LEVEL may be %s", (logLevel) => {
    expect(loadConfig({ LOG_LEVEL: logLevel }).logLevel).toBe(logLevel);
  });

  test.each([
    { name: "LOG_LEVEL", given: "verbose", expected: "expected debug, info, warn, error or silent" },
    { name: "LOG_LEVEL", given: "INFO", expected: "expected debug, info, warn, error or silent" },
    { name: "KEY_PREFIX", given: "a b", expected: "expected 1 to 50 letters, digits or any of _ . : -" },
    { name: "KEY_PREFIX", given: "{ql}", expected: "expected 1 to 50 letters, digits or any of _ . : -" },
    { name: "KEY_PREFIX", given: "ql\n", expected: "expected 1 to 50 letters, digits or any of _ . : -" },
    {
      name: "KEY_PREFIX",
      given: "x".repeat(51),
      expected: "expected 1 to 50 letters, digits or any of _ . : -",
    },
  ])("$name is not $given", ({ name, given, expected }) => {
    expect(problemsOf({ [name]: given })).toEqual([`${name}: ${expected}, got ${JSON.stringify(given)}`]);
  });
});

describe("HOST", () => {
  test.each([
    { host: "127.0.0.1", why: "this machine" },
    { host: "127.1.2.3", why: "all of 127.0.0.0/8 is this machine" },
    { host: "::1", why: "the same over IPv6" },
    { host: "::ffff:127.0.0.1", why: "an IPv4 address in IPv6's clothes" },
    { host: "localhost", why: "a name for it" },
    { host: "ql.localhost", why: "every name below localhost is one, too" },
  ])("may be $host without tokens: $why", ({ host }) => {
    expect(loadConfig({ HOST: host }).host).toBe(host);
  });

  test.each([
    { host: "0.0.0.0", why: "every address of this machine, also those that others reach" },
    { host: "::", why: "the same over IPv6" },
    { host: "192.168.1.5", why: "the neighbours reach it" },
    { host: "::ffff:10.0.0.1", why: "the neighbours reach it" },
    { host: "example.com", why: "a name may lead anywhere" },
    { host: "localhost.example.com", why: "a name of another host" },
    { host: "127.0.0.1.example.com", why: "a name of another host" },
  ])("is not $host unless there are tokens: $why", ({ host }) => {
    const [problem, ...others] = problemsOf({ HOST: host });
    expect(others).toEqual([]);
    expect(problem).toContain("HOST: expected 127.0.0.1, ::1 or localhost while there are no tokens");
    expect(problem).toContain(`got "${host}"`);
    expect(problem).toContain("API_TOKENS_FILE");
    expect(loadConfig({ HOST: host, API_TOKENS_FILE: "tokens" })).toMatchObject({
      host,
      tokensFile: resolve("tokens"),
    });
  });
});

describe("BASE_PATH", () => {
  test.each([
    { given: "/queues", path: "/queues" },
    { given: "/a/b-c.d/", path: "/a/b-c.d" },
    { given: "/", path: "" },
  ])("may be $given", ({ given, path }) => {
    expect(loadConfig({ BASE_PATH: given }).basePath).toBe(path);
  });

  test.each(["queues", "//queues", "/a b", "/a?b", "http://a/b"])("is not %s", (given) => {
    expect(problemsOf({ BASE_PATH: given })).toEqual([
      `BASE_PATH: expected a path such as /queues, got ${JSON.stringify(given)}`,
    ]);
  });
});

describe("lists", () => {
  test("are separated by commas, and blanks around their items do not matter", () => {
    expect(
      loadConfig({
        TRUST_PROXY: "10.0.0.7, 10.1.0.0/16 ,fd00::/8,::1",
        CORS_ORIGINS: "https://a.example, http://localhost:3000,",
      }),
    ).toMatchObject({
      trustedProxies: ["10.0.0.7", "10.1.0.0/16", "fd00::/8", "::1"],
      corsOrigins: ["https://a.example", "http://localhost:3000"],
    });
  });

  test("CORS_ORIGINS may be * alone", () => {
    expect(loadConfig({ CORS_ORIGINS: "*" }).corsOrigins).toEqual(["*"]);
  });

  test.each([
    { name: "TRUST_PROXY", given: "10.0.0.0/33", why: "IPv4 has 32 bits" },
    { name: "TRUST_PROXY", given: "fd00::/129", why: "IPv6 has 128" },
    { name: "TRUST_PROXY", given: "10.0.0.0/-1", why: "no sign" },
    { name: "TRUST_PROXY", given: "10.0.0.0/8/8", why: "one range" },
    { name: "TRUST_PROXY", given: "10.0.0", why: "no whole address" },
    { name: "TRUST_PROXY", given: "proxy.example", why: "a name can lead elsewhere tomorrow" },
    { name: "TRUST_PROXY", given: "true", why: "to trust every proxy is to trust none" },
    { name: "CORS_ORIGINS", given: "https://a.example/", why: "an origin has no path" },
    { name: "CORS_ORIGINS", given: "a.example", why: "an origin has a scheme" },
    { name: "CORS_ORIGINS", given: "https://*.example", why: "no patterns" },
    { name: "CORS_ORIGINS", given: "null", why: "any sandboxed page is that" },
    { name: "CORS_ORIGINS", given: "*, https://a.example", why: "all is all" },
    { name: "CORS_ORIGINS", given: "ftp://a.example", why: "no web page" },
  ])("$name is not $given: $why", ({ name, given }) => {
    const [problem, ...others] = problemsOf({ [name]: given });
    expect(others).toEqual([]);
    expect(problem).toMatch(new RegExp(`^${name}: expected .*, got `));
  });
});

test("every mistake is reported at once, one line each", () => {
  const problems = problemsOf({
    PORT: "http",
    REDIS_URL: "secret-1",
    KEY_PREFIX: "*",
    LOG_LEVEL: "loud",
    MAX_QUEUES: "0",
    MAX_COST: "0",
    MAX_EVENTS: "0",
    MAX_SUBSCRIPTIONS: "0",
    RATE_LIMIT_MAX: "0",
    RATE_LIMIT_WINDOW: "1",
    EVENT_WINDOW: "1",
    MAX_WAIT: "1",
    SHUTDOWN_GRACE: "1",
    TRUST_PROXY: "x",
    CORS_ORIGINS: "x",
    INTROSPECTION: "no",
    FAKTORY_URL: "secret-2",
    FAKTORY_INTERVAL: "1",
    SIDEKIQ_URL: "secret-3",
    SIDEKIQ_INTERVAL: "1",
    BULLMQ_URL: "secret-4",
    BULLMQ_RECONCILE: "1",
    METRICS_MAX_QUEUES: "0",
    STATSD_URL: "udp://secret-5@host",
    HOST: "0.0.0.0",
  });
  expect(problems.map((problem) => problem.split(":")[0])).toEqual([
    ...["PORT", "REDIS_URL", "KEY_PREFIX", "LOG_LEVEL", "TRUST_PROXY", "CORS_ORIGINS", "INTROSPECTION"],
    ...["MAX_QUEUES", "MAX_COST", "MAX_EVENTS", "MAX_SUBSCRIPTIONS", "RATE_LIMIT_MAX"],
    ...["RATE_LIMIT_WINDOW", "EVENT_WINDOW", "MAX_WAIT", "SHUTDOWN_GRACE"],
    ...[
      "FAKTORY_URL",
      "FAKTORY_INTERVAL",
      "SIDEKIQ_URL",
      "SIDEKIQ_INTERVAL",
      "BULLMQ_URL",
      "BULLMQ_RECONCILE",
      "METRICS_MAX_QUEUES",
      "STATSD_URL",
    ],
    "HOST",
  ]);
  expect(problems.join()).not.toContain("secret");
});

describe("OpenTelemetry", () => {
  const missing = "/nonexistent/ca.pem";
  const endpoint = "http://collector:4318";
  const metricsOf = (env: Readonly<Record<string, string>>) => loadConfig(env).otlpMetrics;

  test.each([
    { env: {}, url: undefined, why: "nothing is sent by default" },
    { env: { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }, url: `${endpoint}/v1/metrics`, why: "a base" },
    {
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: `${endpoint}/` },
      url: `${endpoint}/v1/metrics`,
      why: "a base with a slash",
    },
    {
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: "https://c/otlp" },
      ...{ url: "https://c/otlp/v1/metrics", why: "a base with a path" },
    },
    {
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: "wrong", OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: `${endpoint}/in` },
      ...{ url: `${endpoint}/in`, why: "that of metrics is taken as it is, and the other one not at all" },
    },
    {
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SDK_DISABLED: "True" },
      ...{ url: undefined, why: "switched off" },
    },
    {
      env: { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_METRICS_EXPORTER: "none" },
      ...{ url: undefined, why: "metrics are switched off" },
    },
    {
      env: { OTEL_EXPORTER_OTLP_PROTOCOL: "grpc", OTEL_EXPORTER_OTLP_CERTIFICATE: missing },
      ...{ url: undefined, why: "other programs share the variables; none counts without an endpoint" },
    },
  ])("$env sends to $url: $why", ({ env, url }) => {
    expect(metricsOf(env as Readonly<Record<string, string>>)?.url).toBe(url);
  });

  test("takes the variables of metrics before the general ones, and decodes lists", () => {
    const metrics = metricsOf({
      ...{ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_METRIC_EXPORT_INTERVAL: "5000" },
      ...{ OTEL_EXPORTER_OTLP_HEADERS: "a=1, b=x%20y=", OTEL_EXPORTER_OTLP_METRICS_HEADERS: "a=2" },
      ...{ OTEL_EXPORTER_OTLP_TIMEOUT: "1", OTEL_EXPORTER_OTLP_METRICS_TIMEOUT: "2000" },
      ...{ OTEL_EXPORTER_OTLP_COMPRESSION: "gzip", OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf" },
      ...{ OTEL_RESOURCE_ATTRIBUTES: "service.name=other,k8s.pod.name=a%2Cb", OTEL_SERVICE_NAME: "queues" },
    });
    expect(metrics).toEqual({
      ...{ url: `${endpoint}/v1/metrics`, timeoutMs: 2_000, intervalMs: 5_000, compression: "gzip" },
      headers: { a: "2", b: "x y=" },
      tls: {},
      resource: { "service.name": "queues", "k8s.pod.name": "a,b" },
    });
  });

  test.each([
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", /expected http:\/\/host/],
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@collector:4318", /OTEL_EXPORTER_OTLP_HEADERS$/],
    ["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "grpc://collector", /expected http:\/\/host/],
    ["OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", /expected http\/protobuf.*, got "grpc"$/],
    ["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http/json", /expected http\/protobuf/],
    ["OTEL_EXPORTER_OTLP_HEADERS", "authorization Bearer secret", /expected key=value/],
    ["OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=secret%0d%0ab: c", /expected key=value/],
    ["OTEL_EXPORTER_OTLP_TIMEOUT", "10s", /expected milliseconds from 1 to 600000, got "10s"$/],
    ["OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", /expected none or gzip/],
    ["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "delta", /expected cumulative/],
    ["OTEL_EXPORTER_OTLP_CERTIFICATE", missing, /expected a readable file of certificates \(PEM\).*ENOENT/],
    ["OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE", "/dev/zero", /with \/dev\/zero: it is not a regular file$/],
    ["OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "package.json", /expected a readable file of certificates/],
    ["OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE", missing, /expected a readable file of certificates/],
    ["OTEL_EXPORTER_OTLP_CLIENT_KEY", "package.json", /expected a readable file of a private key/],
    ["OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", missing, /expected a readable file of a private key/],
    ["OTEL_METRIC_EXPORT_INTERVAL", "0", /expected milliseconds from 1000/],
    ["OTEL_METRICS_EXPORTER", "prometheus", /expected otlp or none/],
    ["OTEL_RESOURCE_ATTRIBUTES", "a=%zz", /expected key=value/],
  ])("%s=%s is refused", (name, value, message) => {
    const problems = problemsOf({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, [name]: value });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(new RegExp(`^${name}: `));
    expect(problems[0]).toMatch(message);
    expect(problems[0]).not.toContain("secret");
  });

  const otlp = { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_TRACES_EXPORTER: "otlp" };
  const ratio = { OTEL_TRACES_SAMPLER: "parentbased_traceidratio" };
  test.each([
    { env: { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }, traces: null, why: "traces are off by default" },
    { env: { ...otlp, OTEL_TRACES_EXPORTER: "none" }, traces: null, why: "they are switched off" },
    { env: { ...otlp, OTEL_SDK_DISABLED: "true" }, traces: null, why: "all is switched off" },
    {
      env: { OTEL_TRACES_EXPORTER: "console", OTEL_TRACES_SAMPLER: "xray" },
      ...{ traces: null, why: "other programs share the variables; none counts without an endpoint" },
    },
    { env: otlp, traces: { ratio: 1, followsParent: true }, why: "the specification's default sampler" },
    { env: { ...otlp, ...ratio }, traces: { ratio: 1, followsParent: true }, why: "and its default ratio" },
    {
      env: { ...otlp, ...ratio, OTEL_TRACES_SAMPLER_ARG: "0.1" },
      ...{ traces: { ratio: 0.1, followsParent: true }, why: "a tenth of those that begin here" },
    },
    {
      env: { ...otlp, OTEL_TRACES_SAMPLER: "traceidratio", OTEL_TRACES_SAMPLER_ARG: "1e-3" },
      ...{
        traces: { ratio: 0.001, followsParent: false },
        why: "of a thousand one, also where a client began it",
      },
    },
    {
      env: { ...otlp, OTEL_TRACES_SAMPLER: "always_off", OTEL_TRACES_SAMPLER_ARG: "all" },
      ...{ traces: { ratio: 0, followsParent: false }, why: "this sampler has no argument" },
    },
    {
      env: {
        ...otlp,
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "https://c/in",
        OTEL_EXPORTER_OTLP_TRACES_HEADERS: "a=1",
      },
      ...{ traces: { url: "https://c/in", headers: { a: "1" } }, why: "variables of traces alone" },
    },
  ])("$env sends traces: $traces, since $why", ({ env, traces }) => {
    const { otlpTraces } = loadConfig(env as Readonly<Record<string, string>>);
    if (traces === null) expect(otlpTraces).toBeNull();
    else expect(otlpTraces).toMatchObject({ url: `${endpoint}/v1/traces`, ...traces });
  });

  test.each([
    ["OTEL_TRACES_EXPORTER", "console", /expected otlp or none.*, got "console"$/],
    ["OTEL_TRACES_EXPORTER", "otlp,console", /expected otlp or none/],
    ["OTEL_TRACES_SAMPLER", "jaeger_remote", /expected always_on, .*parentbased_traceidratio, got/],
    ["OTEL_TRACES_SAMPLER_ARG", "10%", /expected a share from 0 to 1, such as 0.1, got "10%"$/],
    ["OTEL_TRACES_SAMPLER_ARG", "1.5", /expected a share from 0 to 1/],
    ["OTEL_TRACES_SAMPLER_ARG", "-0.1", /expected a share from 0 to 1/],
    ["OTEL_TRACES_SAMPLER_ARG", "0x1", /expected a share from 0 to 1/],
    ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc", /expected http\/protobuf.*, got "grpc"$/],
    ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", missing, /expected a readable file of certificates/],
    ["OTEL_EXPORTER_OTLP_HEADERS", "authorization Bearer secret", /expected key=value/],
  ])("%s=%s is refused for traces, once", (name, value, message) => {
    const problems = problemsOf({ ...otlp, ...ratio, [name]: value });
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(new RegExp(`^${name}: `));
    expect(problems[0]).toMatch(message);
    expect(problems[0]).not.toContain("secret");
  });

  test.each([
    { env: { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: endpoint }, setting: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" },
    { env: { OTEL_TRACES_EXPORTER: "otlp" }, setting: "OTEL_TRACES_EXPORTER" },
    { env: { OTEL_TRACES_EXPORTER: "otlp", OTEL_SDK_DISABLED: "true" }, setting: null },
    { env: otlp, setting: null },
  ])("$env warns that no traces are sent, by $setting", ({ env, setting }) => {
    const { warnings } = loadConfig(env as Readonly<Record<string, string>>);
    const message = expect.stringContaining("no traces are sent: set OTEL_");
    expect(warnings).toEqual(setting === null ? [] : [{ setting, message }]);
  });
});
