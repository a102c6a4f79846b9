import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PgBoss } from "pg-boss";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { recordingLogger } from "../support/logger.ts";
import { query, startPostgres, whyNoPostgres } from "../support/postgres.ts";
import { fixtures } from "../support/postgres-fixtures.ts";
import { uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";
import { until } from "../support/until.ts";

const title = whyNoPostgres === null ? "a real Postgres" : `a real Postgres (${whyNoPostgres})`;

describe.skipIf(whyNoPostgres !== null)(title, () => {
  it("has the queues of two job systems in one database, and refuses events for them", async () => {
    await using postgres = await startPostgres();
    const url = await postgres.createDatabase();
    await query(
      url,
      `${fixtures.que} INSERT INTO que_jobs (queue, run_at) VALUES ('mail', now() - interval '1 hour');
      INSERT INTO que_jobs (queue) SELECT 'many' FROM generate_series(1, 10001)`,
    );
    const boss = new PgBoss({ connectionString: url, supervise: false, schedule: false });
    boss.on("error", () => {});
    await boss.start();
    onTestFinished(() => boss.stop({ graceful: false }));
    await boss.createQueue("mail");
    await boss.send("mail", {});
    await boss.send("mail", {}, { startAfter: 3_600 });

    const directory = await mkdtemp(join(tmpdir(), "ql-queries-"));
    onTestFinished(() => rm(directory, { recursive: true }));
    const queries = join(directory, "queries.yml");
    await writeFile(
      queries,
      `own: SELECT 'all' AS queue, min(run_at) AS oldest, count(*) AS depth FROM que_jobs WHERE queue = 'mail'
bad: SELECT 'all' AS queue, min(ran_at) AS oldest, count(*) AS depth FROM que_jobs\n`,
    );
    const logger = recordingLogger();
    await using app = await startApp(
      {
        REDIS_URL: inject("redisUrl"),
        KEY_PREFIX: uniquePrefix(),
        POSTGRES_URL: url,
        POSTGRES_INTERVAL: "100ms",
        POSTGRES_QUERY_FILE: queries,
      },
      logger,
    );
    const selection =
      "queue source state latency depth depthIsLowerBound scheduled accuracy stale throughput { enqueuedPerSecond }";
    await until(async () => {
      const { body } = await ask(
        app.url,
        `{ queueLatency(queues: ["que/mail", "pg-boss/mail", "que/many", "own/all"]) { ${selection} } }`,
      );
      const common = { state: "WAITING", accuracy: "EXACT", stale: false, throughput: null };
      expect(body.data.queueLatency).toEqual([
        {
          ...common,
          queue: "que/mail",
          source: "que",
          depth: 1,
          depthIsLowerBound: false,
          scheduled: 0,
          latency: expect.toSatisfy(isAnHour),
        },
        {
          ...common,
          queue: "pg-boss/mail",
          source: "pg-boss",
          depth: 1,
          depthIsLowerBound: false,
          scheduled: 1,
          latency: expect.any(Number),
        },
        {
          ...common,
          queue: "que/many",
          source: "que",
          depth: 10_000,
          depthIsLowerBound: true,
          scheduled: null,
          latency: expect.any(Number),
        },
        {
          ...common,
          queue: "own/all",
          source: "own",
          depth: 1,
          depthIsLowerBound: false,
          scheduled: null,
          accuracy: "ESTIMATED",
          latency: expect.toSatisfy(isAnHour),
        },
      ]);
    });
    const metrics = await (await fetch(new URL("/metrics", app.url))).text();
    expect(metrics).toContain('queue_depth_is_lower_bound{queue="que/many",source="que"} 1');
    await until(async () => {
      const health = (await (await fetch(new URL("/health", app.url))).json()) as object;
      expect(health).toEqual({
        status: "ok",
        warnings: [expect.stringContaining("the query bad of POSTGRES_QUERY_FILE is refused")],
      });
    });
    const refusals = logger.lines.filter(({ message }) => message === "Postgres query refused");
    expect(refusals.filter(({ level }) => level === "warn")).toHaveLength(1);
    expect(refusals[0]?.fields.err).toBe(`${queries}, line 2: column "ran_at" does not exist`);

    for (const queue of ["que/mail", "own/all"]) {
      const { body } = await ask(
        app.url,
        `mutation { recordEvents(events: [{ type: ENQUEUED, queue: "${queue}", jobId: "1" }]) { accepted } }`,
      );
      expect(body.errors?.[0]?.extensions).toMatchObject({ code: "BAD_USER_INPUT" });
    }
  });
});

function isAnHour(seconds: number): boolean {
  return seconds > 3_599 && seconds < 3_900;
}
