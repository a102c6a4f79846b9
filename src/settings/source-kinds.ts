import { postgresForm } from "./postgres-url.ts";
import { rabbitmqForm } from "./rabbitmq-url.ts";

const encoding = "(percent-encode reserved characters in user and password)";

/** How the URL of one kind of job system is written. */
interface UrlForm {
  /** Who reads it: settings/redis-url.ts, or a reader of its own. */
  readonly place: "redis" | "own";
  /** What is said of a text that is no such URL. */
  readonly expected: string;
  /** What may stand behind the `?`, beside how to connect. */
  readonly parameters: readonly string[];
}

/** @param parameters what may stand behind the `?` beside `as`, and what to write there. */
function inRedis(parameters: Readonly<Record<string, string>>): UrlForm {
  const forms = Object.entries({ ...parameters, as: "NAME" }).map(([name, value]) => `${name}=${value}`);
  return {
    place: "redis",
    expected: `redis://[user:password@]host[:port][/db][?${forms.join("&")}], or rediss:// for TLS, or by redis+sentinel:// or unix:// as in REDIS_URL ${encoding}`,
    parameters: ["as", ...Object.keys(parameters)],
  };
}

/** Every kind of job system that can be read. The setting with its URLs is its name and `_URL`. */
export const sourceKinds = {
  faktory: {
    place: "own",
    expected: `tcp://[:password@]host[:port][?paused=A,B&as=NAME], or tcp+tls:// for TLS ${encoding}`,
    parameters: ["as", "paused"],
  },
  sidekiq: inRedis({ namespace: "NAMESPACE" }),
  bullmq: inRedis({ prefix: "PREFIX", queues: "A,B" }),
  streams: inRedis({ streams: "A,B:*" }),
  asynq: inRedis({}),
  bull: inRedis({ prefix: "PREFIX", queues: "A,B" }),
  celery: inRedis({ queues: "A,B", prefix: "PREFIX", steps: "0,3,6,9", timeHeader: "NAME" }),
  rq: inRedis({ queues: "A,B" }),
  laravel: inRedis({ queues: "A,B", prefix: "PREFIX" }),
  resque: inRedis({ queues: "A,B", namespace: "NAMESPACE" }),
  dramatiq: inRedis({ queues: "A,B", namespace: "NAMESPACE" }),
  huey: inRedis({ queues: "A,B" }),
  arq: inRedis({ queues: "A,B" }),
  postgres: { place: "own", expected: postgresForm, parameters: [] },
  rabbitmq: { place: "own", expected: rabbitmqForm, parameters: [] },
} as const satisfies Readonly<Record<string, UrlForm>>;

export type SourceKind = keyof typeof sourceKinds;
export const sourceKindNames = Object.keys(sourceKinds) as readonly SourceKind[];

/** Those that are read at an interval: the setting is the name and `_INTERVAL`. */
export type PolledKind = Exclude<SourceKind, "bullmq">;
export const polledKindNames = sourceKindNames.filter((kind): kind is PolledKind => kind !== "bullmq");

export function urlSetting<K extends SourceKind>(kind: K): `${Uppercase<K>}_URL` {
  return `${kind.toUpperCase() as Uppercase<K>}_URL`;
}

export function intervalSetting<K extends PolledKind>(kind: K): `${Uppercase<K>}_INTERVAL` {
  return `${kind.toUpperCase() as Uppercase<K>}_INTERVAL`;
}
