import { defineConfig } from "vitest/config";

/**
 * What runs against a Redis Cluster, too: the files whose tests share the run's Redis. Left out are
 *
 * - those that stop, freeze, fill or count the commands of a Redis, which is one of their own (redis/live, tracker-cost and
 *   data-loss, e2e/limits and lost-writes, the embedded Redis): redis/cluster and e2e/cluster do the same to a cluster;
 * - those of job systems (redis/*-source, e2e/faktory, sources, leader-only-sources, bullmq-takeover): they write to our Redis what
 *   redis/observe, follow, lease and leader-only-source write;
 * - those of tokens, documents and transports (e2e/graphiql, tokens, names, hostile-*, graphql-over-http, ...): these decide before
 *   Redis is asked.
 */
const alsoOnCluster = [
  "test/redis/{alerts,clock-set,follow,history,known-queues,lease,lost-keys,observe,leader-only-source,queue-choice,expiry-sweeper,tracker,tracker-model}.test.ts",
  "test/e2e/{api,subscription,waiting-jobs}.test.ts",
];

/** Those of half a minute and more, and those that watch the memory of a server or play hours of events. */
const slow = [
  "test/e2e/{alerts,churn,client-restarts,cut-in-between,demo,flat-memory,image,one-client-floods,redis-faults,soak,start}.test.ts",
  "test/redis/{bullmq-source,cluster,history-month,metrics-of-many,postgres-systems,rabbitmq-source}.test.ts",
];

/** One Redis for all files of the project. */
const globalSetup = ["test/global-setup.ts"];

export default defineConfig({
  // vitest would take the package's ES module where Node takes its CommonJS one, and there must be one graphql only.
  resolve: { alias: [{ find: /^graphql$/, replacement: "graphql/index.js" }] },
  test: {
    pool: "forks",
    // For all projects together: files of all of them are mixed, so that none has to wait for the last one of another.
    maxWorkers: 2,
    // To end what hangs: on a machine with ten processes for each core, a test of ten seconds takes more than a minute.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    // As test/support/until.ts has it; it would be a second.
    expect: { poll: { timeout: 60_000, interval: 20 } },
    retry: 0,
    sequence: { shuffle: true },
    allowOnly: false,
    dangerouslyIgnoreUnhandledErrors: false,
    projects: [
      // No Redis, no server, no network.
      { extends: true, test: { name: "unit", include: ["test/unit/**/*.test.ts"] } },
      {
        extends: true,
        test: { name: "redis", include: ["test/redis/**/*.test.ts"], exclude: slow, globalSetup },
      },
      {
        extends: true,
        test: { name: "e2e", include: ["test/e2e/**/*.test.ts"], exclude: slow, globalSetup },
      },
      { extends: true, test: { name: "slow", include: slow, globalSetup } },
      {
        extends: true,
        test: { name: "cluster", include: alsoOnCluster, globalSetup: ["test/cluster-setup.ts"] },
      },
    ],
  },
});
