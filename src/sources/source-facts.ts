import type { Accuracy } from "../core/snapshot.ts";
import type { SourceKind } from "../settings/source-kinds.ts";

/** What a source reports, for the table in docs/sources.md: a test compares the two. */
export interface SourceFacts {
  /** The name of the job system, and its page in docs. */
  readonly title: string;
  readonly page: string;
  readonly versions: string;
  readonly howOften: string;
  readonly depth: string;
  /** Null where it is null. */
  readonly scheduled: string | null;
  readonly inFlight: string | null;
  /** Whether jobs are counted one by one, with `throughput`, `waitTime`, and counts in the history; null: no. */
  readonly counts: string | null;
  /** Whether `overtaken` and `inOrderLatency` are known, or why they are null. */
  readonly overtaken: string;
  /** When a queue is PAUSED; null: never. */
  readonly paused: string | null;
  /** Whose clock the head's age is by. */
  readonly clock: string;
  /** The best accuracy that the age of a waiting job has. */
  readonly accuracy: Accuracy;
}

/** A job that is not taken keeps all that came after it from being taken. */
const inOneOrder = "null: jobs are taken in one order";
const ofLists = {
  page: "lists.md#job-systems",
  depth: "read",
  scheduled: null,
  inFlight: null,
  counts: "[of jobs that a reading has seen](lists.md#throughput-and-wait-times)",
  overtaken: inOneOrder,
  paused: null,
  clock: "that Redis's, by marks",
  accuracy: "EXACT",
} as const;
const ofRedis = {
  depth: "read",
  scheduled: "read",
  inFlight: "read",
  counts: null,
  overtaken: "null: taken jobs are not read",
  paused: "yes",
  accuracy: "ESTIMATED",
} as const;

const everySecond = (kind: string) => `\`${kind.toUpperCase()}_INTERVAL\` (1s)`;

/** Every kind of job system, in the order of the table. */
export const sourceFacts: Readonly<Record<SourceKind, SourceFacts>> = {
  faktory: {
    ...ofRedis,
    ...{
      title: "Faktory",
      page: "faktory.md",
      versions: "1.9.2 and later",
      howOften: everySecond("faktory"),
    },
    overtaken: inOneOrder,
    ...{ scheduled: null, inFlight: null, paused: "only of queues that `?paused=` names" },
    ...{ clock: "Faktory's", accuracy: "EXACT" },
  },
  sidekiq: {
    ...ofRedis,
    ...{ title: "Sidekiq", page: "sidekiq.md", versions: "6 to 8", howOften: everySecond("sidekiq") },
    ...{ scheduled: null, inFlight: null, paused: "with Sidekiq Pro", clock: "the producer's" },
    overtaken: inOneOrder,
  },
  bullmq: {
    ...{ title: "BullMQ", page: "bullmq.md", versions: "5 and 6, on Redis" },
    howOften: "5 times a second, up to 50 where the stream is short",
    ...{ depth: "counted, compared up to 5 times a second", scheduled: "counted", inFlight: null },
    ...{ counts: "yes", overtaken: "yes", paused: "yes", clock: "that Redis's", accuracy: "EXACT" },
  },
  bull: {
    ...ofRedis,
    ...{ title: "Bull", page: "bull.md", versions: "3 and 4", howOften: everySecond("bull") },
    clock: "the producer's",
  },
  asynq: {
    ...ofRedis,
    ...{
      title: "asynq",
      page: "asynq.md",
      versions: "0.26; older ones that write `pending_since`",
      howOften: everySecond("asynq"),
    },
    clock: "the client's or the server's",
  },
  streams: {
    ...ofRedis,
    ...{ title: "Redis Streams", page: "redis-streams.md", versions: "of Redis 6.2 and later" },
    howOften: everySecond("streams"),
    depth: "read, else counted up to some thousands: then `depthIsLowerBound`",
    ...{ scheduled: null, inFlight: "read, with `inFlightIdle`", paused: null },
    overtaken: inOneOrder,
    ...{ clock: "that Redis's", accuracy: "EXACT" },
  },
  celery: {
    ...ofLists,
    ...{
      title: "Celery",
      page: "celery.md",
      versions: "4 to 5.7, on Redis",
      howOften: everySecond("celery"),
    },
    overtaken: "null: of short jobs of other priorities it is not known that they were taken",
  },
  rq: {
    ...ofLists,
    ...{ title: "RQ", versions: "1 and 2", howOften: everySecond("rq") },
    ...{ scheduled: "read", inFlight: "read", paused: "while workers are suspended" },
  },
  laravel: {
    ...ofLists,
    ...{ title: "Laravel", versions: "8 to 13, on Redis", howOften: everySecond("laravel") },
    ...{ scheduled: "read", inFlight: "read" },
  },
  resque: {
    ...ofLists,
    ...{ title: "Resque", versions: "3", howOften: everySecond("resque") },
    paused: "while all workers are paused",
  },
  dramatiq: {
    ...ofLists,
    ...{ title: "Dramatiq", versions: "2, on Redis", howOften: everySecond("dramatiq") },
  },
  huey: {
    ...ofLists,
    ...{ title: "Huey", versions: "3, on Redis", howOften: everySecond("huey") },
    ...{ scheduled: "read", clock: "that Redis's, by marks; with priorities the producer's" },
    counts: "[of jobs that a reading has seen](lists.md#throughput-and-wait-times); not with priorities",
    overtaken: `${inOneOrder}, or by priority`,
  },
  arq: {
    ...ofRedis,
    ...{
      title: "arq",
      page: "lists.md#job-systems",
      versions: "0.26 and later",
      howOften: everySecond("arq"),
    },
    ...{ paused: null, clock: "the producer's" },
  },
  postgres: {
    ...ofRedis,
    ...{ title: "in Postgres", page: "postgres.md", versions: "[of each](postgres.md)" },
    howOften: `${everySecond("postgres")}, depths every 5 s`,
    depth: "read, up to 10,000: then `depthIsLowerBound`",
    ...{ scheduled: "read, up to 10,000", inFlight: null, paused: "of most", clock: "the database's" },
    counts: "[of two](postgres.md#what-the-numbers-mean)",
    overtaken: "[of four](postgres.md#overtaken-jobs)",
    accuracy: "EXACT",
  },
  rabbitmq: {
    ...{ title: "RabbitMQ", page: "rabbitmq.md", versions: "3.10; later ones with the same management API" },
    howOften: `${everySecond("rabbitmq")}, of statistics up to 5 s old`,
    ...{ depth: "read", scheduled: null, inFlight: "read", counts: null, paused: null },
    overtaken: "null: taken jobs are not read",
    ...{ clock: "this server's; of a `timestamp` the publisher's", accuracy: "ESTIMATED" },
  },
};
