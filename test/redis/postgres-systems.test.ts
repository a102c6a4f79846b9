import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { monotonicClock, wallClock } from "../../src/runtime/clock.ts";
import type { PostgresSystemName } from "../../src/settings/postgres-url.ts";
import { settingsByIndex } from "../../src/sources/postgres/connection.ts";
import { discoveryOf, find, tablesIn } from "../../src/sources/postgres/discover.ts";
import { countsStatement } from "../../src/sources/postgres/job-counts.ts";
import {
  maxOvertaken,
  overtakenStatement,
  takenStatement,
} from "../../src/sources/postgres/overtaken-jobs.ts";
import type { FoundSystem } from "../../src/sources/postgres/system.ts";
import { postgresSystems } from "../../src/sources/postgres/systems.ts";
import { query, startPostgres, type TestPostgres, whyNoPostgres } from "../support/postgres.ts";
import { fixtures } from "../support/postgres-fixtures.ts";
import {
  type PostgresJobs,
  startGraphileWorker,
  startOban,
  startPgBoss,
  startProcrastinate,
  startRiver,
  whyNoPythonJobs,
  whyNoRiver,
} from "../support/postgres-jobs.ts";
import { type WatchedPostgres, watchPostgres } from "../support/postgres-source.ts";
import { until } from "../support/until.ts";

const title =
  whyNoPostgres === null ? "job systems in Postgres" : `job systems in Postgres (${whyNoPostgres})`;

/**
 * A row for each job system that runs here: its real producer and worker write, and we read. `backdated` inserts a job whose time
 * its producer set back by a day.
 */
const real = [
  {
    ...{ system: "pg-boss", start: startPgBoss, why: null },
    backdated: (queue: string) =>
      `INSERT INTO pgboss.job (name, start_after) VALUES ('${queue}', now() - interval '1 day')`,
    accuracy: "LOWER_BOUND",
  },
  {
    ...{ system: "graphile-worker", start: startGraphileWorker, why: null },
    backdated: (queue: string) =>
      `SELECT graphile_worker.add_job('${queue}', run_at := now() - interval '1 day')`,
    accuracy: "LOWER_BOUND",
  },
  {
    ...{ system: "oban", start: startOban, why: whyNoPythonJobs },
    backdated: (queue: string) =>
      `INSERT INTO oban_jobs (state, queue, worker, scheduled_at)
       VALUES ('available', '${queue}', 'w', timezone('UTC', now() - interval '1 day'))`,
    accuracy: "EXACT",
  },
  {
    ...{ system: "procrastinate", start: startProcrastinate, why: whyNoPythonJobs },
    backdated: (queue: string) =>
      `INSERT INTO procrastinate_jobs (queue_name, task_name, scheduled_at)
       VALUES ('${queue}', 'w', now() - interval '1 day')`,
    accuracy: "EXACT",
  },
  {
    ...{ system: "river", start: startRiver, why: whyNoRiver },
    backdated: (queue: string) =>
      `INSERT INTO river_job (state, queue, kind, args, max_attempts, scheduled_at)
       VALUES ('available', '${queue}', 'w', '{}', 5, now() - interval '1 day')`,
    accuracy: "EXACT",
  },
] as const;

describe.skipIf(whyNoPostgres !== null)(title, () => {
  let postgres: TestPostgres;

  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(async () => {
    await postgres?.stop();
  });

  for (const { system, fill, buffers } of costs) {
    const why = real.find((row) => row.system === system)?.why ?? null;
    const name = `${system} with 300,000 waiting jobs: the heads are in ${buffers} buffers at most, and jobs are counted to a limit`;
    test.skipIf(why !== null)(why === null ? name : `${name} (${why})`, async () => {
      const url = await postgres.createDatabase();
      await install(system, url);
      await query(url, fill(claimableAt));
      await query(url, "VACUUM ANALYZE");
      const there = await found(system, url);
      const { heads, depths, overtaken } = postgresSystems[system];
      expect(await buffersOf(url, heads(there))).toBeLessThanOrEqual(buffers);
      expect(await buffersOf(url, depths(there, "ARRAY['queue-0', 'queue-1']"))).toBeLessThanOrEqual(5_000);
      if (overtaken !== undefined) {
        const nowMs = wallClock.epochMs();
        const asked = [0, 1].map((n) => [`queue-${n}`, nowMs] as const);
        const statement = overtakenStatement(overtaken.waiting(there), asked);
        expect(await buffersOf(url, statement)).toBeLessThanOrEqual(10_000);
        // One of those that are not counted may have waited for as long as the time that was asked about.
        const byQueue = `SET timezone = 'UTC'; ${statement} ORDER BY queue`;
        expect(await query(url, byQueue)).toEqual(
          asked.map(([queue]) => ({
            queue,
            jobs: maxOvertaken,
            in_order_age_ms: expect.toSatisfy((ms) => ms < 600_000),
          })),
        );
      }

      await query(url, grants(system));
      const watched = await watchPostgres(`${url.replace("postgres@", "queue_latency@")}?system=${system}`);
      for (const n of [0, 1, 2]) {
        // These have no index with the queue: of 10,001 jobs of all queues those of this one are counted.
        const isShared = ["graphile-worker", "procrastinate", "delayed_job"].includes(system);
        const depth = isShared ? expect.toSatisfy((jobs) => jobs > 3_000 && jobs < 4_000) : 10_000;
        const head = await watched.until(`${system}/queue-${n}`, { depth, depthIsLowerBound: true });
        expect(head.accuracy).toMatch(/EXACT|ESTIMATED|LOWER_BOUND/);
        expect(head.headAgeMs).toBeGreaterThan(3_599_000);
      }
      await watched.stop();
      await postgres.dropDatabase(url);
    });
  }

  for (const { system, fill } of done) {
    const why = real.find((row) => row.system === system)?.why ?? null;
    const name = `${system} with 300,000 jobs that are done: what was done lately is in 100 buffers at most`;
    test.skipIf(why !== null)(why === null ? name : `${name} (${why})`, async () => {
      const url = await postgres.createDatabase();
      await install(system, url);
      await query(url, fill);
      await query(url, "VACUUM ANALYZE");
      const there = await found(system, url);
      const since = "now() - interval '1 minute'";
      const { counts, overtaken } = postgresSystems[system];
      const counted = counts?.(there, since);
      expect(counted).not.toBeNull();
      if (counted) expect(await buffersOf(url, countsStatement(counted))).toBeLessThanOrEqual(100);
      const taken = overtaken?.taken(there, since);
      expect(taken).not.toBeNull();
      if (taken) expect(await buffersOf(url, takenStatement(taken))).toBeLessThanOrEqual(100);
      await postgres.dropDatabase(url);
    });
  }

  test("a job of GoodJob that was made after its time was claimable since then, whether it waits or is done", async () => {
    const url = await postgres.createDatabase();
    await install("good_job", url);
    await query(
      url,
      `INSERT INTO good_jobs (queue_name, scheduled_at, performed_at, finished_at) SELECT 'mail', at - interval '1 day', done, done
       FROM timezone('UTC', now()) at, (VALUES (NULL), (timezone('UTC', now() - interval '10 s'))) ends(done)`,
    );
    const { overtaken } = postgresSystems.good_job;
    const there = await found("good_job", url);
    const nowMs = await databaseMs(url);
    const taken = takenStatement(overtaken?.taken(there, "now() - interval '1 hour'") ?? "");
    const inUtc = (statement: string) => query(url, `SET timezone = 'UTC'; ${statement}`);
    const isLate = expect.toSatisfy((ms) => ms > nowMs - 600_000);
    expect(await inUtc(taken)).toContainEqual(
      expect.objectContaining({ queue: "mail", jobs: 1, ms: isLate }),
    );
    const waiting = overtakenStatement(overtaken?.waiting(there) ?? "", [["mail", nowMs - 3_600_000]]);
    const isYoung = expect.toSatisfy((ms) => ms !== null && ms < 600_000);
    expect(await inUtc(waiting)).toEqual([{ queue: "mail", jobs: 0, in_order_age_ms: isYoung }]);
    await postgres.dropDatabase(url);
  });

  for (const { system, start, why, backdated, accuracy } of real) {
    describe.skipIf(why !== null)(why === null ? system : `${system} (${why})`, () => {
      let url: string;
      let jobs: PostgresJobs;
      let number = 0;
      const newQueue = () => `queue-${++number}`;
      const observed = (watched: WatchedPostgres, queue: string, expected: object) =>
        watched.until(`${system}/${queue}`, expected);

      beforeAll(async () => {
        url = await postgres.createDatabase();
        jobs = await start(url);
      });
      afterAll(async () => {
        await jobs?.stop();
      });

      test("the head waits since it was pushed, by the database's clock, whatever its priority", async () => {
        const queue = newQueue();
        const beforeMs = monotonicClock.now();
        await jobs.push(queue, { priority: 2 });
        const afterMs = monotonicClock.now();
        await jobs.push(queue, { priority: 1 });
        const watched = await watchPostgres(url);
        const { headAgeMs, readAtMs, uncertaintyMs } = await observed(watched, queue, {
          ...{ depth: 2, scheduled: 0, accuracy: "EXACT", paused: false },
        });
        const sinceMs = readAtMs - (headAgeMs ?? Number.NaN);
        expect(sinceMs).toBeGreaterThanOrEqual(beforeMs - uncertaintyMs - roundingMs);
        expect(sinceMs).toBeLessThanOrEqual(afterMs + uncertaintyMs + roundingMs);
      });

      test("follows the head while jobs are taken, and then says that none waits", async () => {
        const queue = newQueue();
        await jobs.push(queue);
        const watched = await watchPostgres(url);
        const first = await observed(watched, queue, { depth: 1 });
        await jobs.push(queue);
        await observed(watched, queue, { depth: 2 });
        await jobs.work(queue, 2);
        await observed(watched, queue, { headAgeMs: null, depth: 0, accuracy: "EXACT" });
        await jobs.push(queue);
        const later = await observed(watched, queue, { depth: 1 });
        expect(later.headAgeMs).toBeLessThan((first.headAgeMs ?? 0) + later.readAtMs - first.readAtMs);
      });

      test("a job that is to run later is scheduled, and waits from then on, though nothing moves it", async () => {
        const queue = newQueue();
        await jobs.push(queue, { delay: 3_600 });
        const watched = await watchPostgres(url);
        await observed(watched, queue, { headAgeMs: null, depth: 0, scheduled: 1, accuracy: "EXACT" });
        const dueMs = monotonicClock.now() + 1_000;
        await jobs.push(queue, { delay: 1 });
        const head = await observed(watched, queue, { headAgeMs: expect.any(Number), accuracy: "EXACT" });
        expect(head.readAtMs - (head.headAgeMs ?? 0)).toBeGreaterThanOrEqual(
          dueMs - head.uncertaintyMs - roundingMs,
        );
        expect(head.headAgeMs).toBeLessThan(head.readAtMs - dueMs + 1_000);
        await observed(watched, queue, { depth: 1, scheduled: 1 });
      });

      test("a job that failed is to run later", async () => {
        const queue = newQueue();
        await jobs.push(queue, { fail: true });
        const watched = await watchPostgres(url);
        await observed(watched, queue, { depth: 1, scheduled: 0 });
        await jobs.work(queue, 1);
        await observed(watched, queue, { headAgeMs: null, depth: 0, scheduled: 1 });
      });

      test("a job whose time was set back waits since it was inserted, and hides no older one where its index shows that", async () => {
        const queue = newQueue();
        await jobs.push(queue);
        const afterMs = monotonicClock.now();
        await new Promise((done) => setTimeout(done, 50));
        await query(url, backdated(queue));
        const watched = await watchPostgres(url);
        const head = await observed(watched, queue, { depth: 2, scheduled: 0, accuracy });
        const sinceMs = head.readAtMs - (head.headAgeMs ?? Number.NaN);
        if (accuracy === "EXACT") expect(sinceMs).toBeLessThan(afterMs + head.uncertaintyMs + roundingMs);
        // Not a day ago.
        expect(head.headAgeMs).toBeLessThan(3_600_000);
      });

      if (system === "oban" || system === "river") {
        test("a job of a worker that died waits from its rescue on, and hides no older one", async () => {
          const queue = newQueue();
          const [table, inserted, row] =
            system === "oban"
              ? (["oban_jobs", "inserted_at", "'w'"] as const)
              : (["river_job", "created_at", "'w', '{}', 5"] as const);
          const names = system === "oban" ? "worker" : "kind, args, max_attempts";
          const at = (ago: string) => `timezone('UTC', now() - interval '${ago}') AT TIME ZONE 'UTC'`;
          await query(
            url,
            `SET timezone = 'UTC'; INSERT INTO ${table} (state, queue, ${inserted}, scheduled_at, attempt, attempted_at, ${names})
             VALUES ('${system === "oban" ? "executing" : "running"}', '${queue}', ${at("3 hours")}, ${at("3 hours")}, 1, ${at("1 hour")}, ${row})`,
          );
          const watched = await watchPostgres(url);
          await query(
            url,
            `SET timezone = 'UTC'; INSERT INTO ${table} (state, queue, ${inserted}, scheduled_at, ${names})
             VALUES ('available', '${queue}', ${at("2 hours")}, ${at("2 hours")}, ${row})`,
          );
          const isHours = (hours: number) =>
            expect.toSatisfy((ms) => ms >= hours * 3_600_000 && ms < hours * 3_600_000 + 1_800_000);
          // It is in work.
          await observed(watched, queue, { depth: 1, headAgeMs: isHours(2), accuracy: "EXACT" });
          await query(
            url,
            `UPDATE ${table} SET state = 'available' WHERE queue = '${queue}' AND attempt = 1`,
          );
          await observed(watched, queue, { depth: 2, headAgeMs: isHours(2), accuracy: "EXACT" });
          await query(url, `DELETE FROM ${table} WHERE queue = '${queue}' AND attempt = 0`);
          await observed(watched, queue, { depth: 1, headAgeMs: isHours(1), accuracy: "ESTIMATED" });
        });
      }

      if (system === "graphile-worker" || system === "procrastinate") {
        test("a queue whose jobs are behind a thousand others is not known, and not empty", async () => {
          const [queue, other] = [newQueue(), newQueue()];
          await jobs.push(queue);
          const watched = await watchPostgres(url);
          await observed(watched, queue, { depth: 1 });
          await jobs.work(queue, 1);
          await observed(watched, queue, { depth: 0, headAgeMs: null });
          const [others, end] =
            system === "procrastinate"
              ? [
                  `INSERT INTO procrastinate_jobs (queue_name, task_name) SELECT '${other}', 'w' FROM generate_series(1, 1000)`,
                  `DELETE FROM procrastinate_jobs WHERE queue_name = '${other}'`,
                ]
              : [
                  `SELECT graphile_worker.add_job('${other}', run_at := now() - interval '1 day') FROM generate_series(1, 1000)`,
                  `DELETE FROM graphile_worker._private_jobs WHERE run_at < now() - interval '12 hours'`,
                ];
          await query(url, others);
          await jobs.push(queue);
          await observed(watched, queue, { accuracy: "UNKNOWN", headAgeMs: expect.any(Number) });
          await query(url, end);
          await observed(watched, queue, { depth: 1, accuracy: "EXACT" });
        });
      }

      if (system === "river" || system === "pg-boss") {
        test("says which jobs were done, each once and with how long it had waited, and which came where its index shows that", async () => {
          const queue = newQueue();
          await jobs.push(queue);
          const watched = await watchPostgres(url);
          await observed(watched, queue, { depth: 1 });
          await jobs.work(queue, 1);
          await jobs.push(queue);
          await jobs.work(queue, 1);
          const all = () =>
            watched.seen.flatMap(({ source, queues }) =>
              queues.flatMap((seen) => (source === system && seen.queue === queue ? [seen.counts] : [])),
            );
          const left = () => all().flatMap((counts) => counts?.left ?? []);
          await until(() => expect(left()).toHaveLength(2));
          const [first, second] = left();
          expect(first?.waitMs).toBeGreaterThanOrEqual(0);
          expect(second?.waitMs).toBeLessThan((second?.atMs ?? 0) - (first?.atMs ?? 0) + 1);
          const readings = watched.seen.length;
          await until(() => expect(watched.seen.length).toBeGreaterThan(readings + 20));
          expect(left()).toHaveLength(2);
          const came = all().reduce((sum, counts) => sum + (counts?.enqueued ?? 0), 0);
          // Counting began two seconds before the first reading: the first job may have come before that.
          expect(system === "pg-boss" ? [1, 2] : [0]).toContain(came);
          expect(all().some((counts) => counts?.enqueued === null)).toBe(system === "river");
        });
      }

      const { makeOld } = orphans[system as keyof typeof orphans] ?? {};
      if (makeOld !== undefined) {
        test("a job that all later ones have overtaken is distinguished from those that are served, also by the next reader", async () => {
          const queue = newQueue();
          await jobs.push(queue);
          const first = await watchPostgres(url);
          // Of the jobs that are taken from now on, and no others.
          await observed(first, queue, { depth: 1, overtaken: { count: 0 } });
          const startMs = await databaseMs(url);
          await jobs.push(queue);
          await jobs.work(queue, 2);
          const noteOf = ({ seen }: WatchedPostgres) =>
            seen.flatMap(({ source, queues }) =>
              source === system
                ? queues.flatMap((each) => (each.queue === queue ? (each.notes ?? []) : []))
                : [],
            );
          const counts = () => noteOf(first).map((note) => note.split(" ").map(Number));
          await until(() => expect(counts().at(-1)?.[1]).toBe(2));
          const [fromMs, , oldestMs] = counts().at(-1) ?? [];
          expect(fromMs).toBeGreaterThan(startMs);
          expect(oldestMs).toBeGreaterThan(startMs - 60_000);
          expect(oldestMs).toBeLessThan(fromMs ?? 0);
          await first.stop();

          // What another reader finds a minute later: the jobs of both periods came in the last minute.
          const untilMs = await databaseMs(url);
          const note = [startMs - 70_000, 3, startMs - 30_000, startMs - 60_000, untilMs].join(" ");
          const notes = new Map([[queue, note]]);
          await jobs.push(queue);
          await jobs.push(queue);
          await query(url, makeOld(queue, "2 hours"));
          await jobs.push(queue);
          const second = await watchPostgres(url, {}, () => true, notes);
          const left = await observed(second, queue, { depth: 3, overtaken: { count: 2 } });
          const { inOrderAgeMs } = left.overtaken ?? {};
          expect(left.headAgeMs).toBeGreaterThan(7_000_000);
          expect(inOrderAgeMs).toBeGreaterThanOrEqual(0);
          expect(inOrderAgeMs).toBeLessThan(600_000);
          // A new period begins with the next job. It is as old as they are, and so none is left behind. A worker may take more than one.
          await jobs.work(queue, 1);
          await observed(second, queue, { overtaken: { count: 0 } });
        });
      }

      test("a queue that is paused has a head that waits", async () => {
        const queue = newQueue();
        if (jobs.pause !== null) await jobs.pause(queue);
        await jobs.push(queue);
        const watched = await watchPostgres(url);
        await observed(watched, queue, { headAgeMs: expect.any(Number), paused: jobs.pause !== null });
      });
    });
  }
});

/** Where overtaken jobs are known: sets back the times of all waiting jobs of a queue. */
const orphans = {
  oban: {
    makeOld: (queue: string, ago: string) =>
      `UPDATE oban_jobs SET scheduled_at = scheduled_at - interval '${ago}', inserted_at = inserted_at - interval '${ago}'
       WHERE queue = '${queue}' AND state = 'available'`,
  },
  river: {
    makeOld: (queue: string, ago: string) =>
      `UPDATE river_job SET scheduled_at = scheduled_at - interval '${ago}', created_at = created_at - interval '${ago}'
       WHERE queue = '${queue}' AND state = 'available'`,
  },
  "pg-boss": {
    makeOld: (queue: string, ago: string) =>
      `UPDATE pgboss.job SET start_after = start_after - interval '${ago}', created_on = created_on - interval '${ago}'
       WHERE name = '${queue}' AND state = 'created'`,
  },
} as const;

async function databaseMs(url: string): Promise<number> {
  const [row] = await query(url, "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS ms");
  return Number(row?.ms);
}

/** Jobs that were done two hours ago: what is counted does not depend on how many they are. */
const done = [
  {
    system: "river",
    fill: `INSERT INTO river_job (state, queue, kind, args, max_attempts, scheduled_at, created_at, attempted_at, finalized_at)
      SELECT 'completed', 'queue-' || n % 3, 'w', '{}', 5, now(), now(), now(), now() - interval '2 hours' FROM generate_series(1, 300000) n`,
  },
  {
    system: "pg-boss",
    fill: `INSERT INTO pgboss.queue (name, policy, retry_limit, retry_delay, retry_backoff, expire_seconds, retention_seconds,
        deletion_seconds, partition, table_name)
      SELECT 'queue-' || n, 'standard', 2, 0, false, 900, 900, 900, false, 'job_common' FROM generate_series(0, 2) n;
      INSERT INTO pgboss.job (name, state, created_on, started_on, completed_on)
      SELECT 'queue-' || n % 3, 'completed', now() - interval '2 hours', now(), now() - interval '2 hours' FROM generate_series(1, 300000) n`,
  },
  {
    system: "oban",
    fill: `INSERT INTO oban_jobs (state, queue, worker, scheduled_at, inserted_at, attempted_at, completed_at)
      SELECT 'completed', 'queue-' || n % 3, 'w', at, at, at, at
      FROM (SELECT n, timezone('UTC', now() - interval '2 hours') AS at FROM generate_series(1, 300000) n) jobs`,
  },
  {
    system: "good_job",
    fill: `INSERT INTO good_jobs (queue_name, scheduled_at, performed_at, finished_at)
      SELECT 'queue-' || n % 3, at, at, at
      FROM (SELECT n, timezone('UTC', now() - interval '2 hours') AS at FROM generate_series(1, 300000) n) jobs`,
  },
] as const;

/** How many buffers the statements may touch at most, with 300,000 waiting jobs. */
const costs = [
  {
    system: "oban",
    fill: (at: string) => `
      INSERT INTO oban_jobs (state, queue, priority, scheduled_at, inserted_at, worker)
      SELECT CASE WHEN n <= 300000 THEN 'available' WHEN n <= 310000 THEN 'scheduled' ELSE 'completed' END::oban_job_state,
        'queue-' || n % 3, n % 2, timezone('UTC', ${at}), timezone('UTC', ${at}), 'w' FROM generate_series(1, 320000) n`,
    buffers: 100,
  },
  {
    system: "river",
    fill: (at: string) => `
      INSERT INTO river_job (state, queue, priority, scheduled_at, created_at, kind, args, finalized_at)
      SELECT CASE WHEN n <= 300000 THEN 'available' WHEN n <= 310000 THEN 'scheduled' ELSE 'completed' END::river_job_state,
        'queue-' || n % 3, n % 2 + 1, ${at}, ${at}, 'w', '{}', CASE WHEN n > 310000 THEN now() END FROM generate_series(1, 320000) n`,
    buffers: 100,
  },
  {
    system: "pg-boss",
    // Without its unique indexes, which take most of the time and are not read.
    fill: (at: string) => `
      DO $$ DECLARE name text; BEGIN
        FOR name IN SELECT indexrelid::regclass FROM pg_index
          WHERE indrelid = 'pgboss.job_common'::regclass AND indisunique AND NOT indisprimary
        LOOP EXECUTE 'DROP INDEX ' || name; END LOOP;
      END $$;
      INSERT INTO pgboss.queue (name, policy, retry_limit, retry_delay, retry_backoff, expire_seconds, retention_seconds,
        deletion_seconds, partition, table_name)
      SELECT 'queue-' || n, 'standard', 2, 0, false, 900, 900, 900, false, 'job_common' FROM generate_series(0, 2) n;
      INSERT INTO pgboss.job (name, state, priority, start_after, created_on)
      SELECT 'queue-' || n % 3, CASE WHEN n <= 310000 THEN 'created' ELSE 'completed' END::pgboss.job_state,
        n % 2, ${at}, ${at} FROM generate_series(1, 320000) n`,
    buffers: 100,
  },
  {
    system: "graphile-worker",
    fill: (at: string) => `
      INSERT INTO graphile_worker._private_tasks (identifier) SELECT 'queue-' || n FROM generate_series(0, 2) n;
      INSERT INTO graphile_worker._private_jobs (task_id, priority, run_at, created_at)
      SELECT n % 3 + 1, n % 2, ${at}, ${at} FROM generate_series(1, 310000) n`,
    buffers: 5_000,
  },
  {
    system: "procrastinate",
    fill: (at: string) => `
      SET session_replication_role = replica;
      INSERT INTO procrastinate_jobs (queue_name, task_name, priority, scheduled_at)
      SELECT 'queue-' || n % 3, 'w', n % 2, CASE WHEN n > 300000 THEN ${at} END FROM generate_series(1, 310000) n;
      INSERT INTO procrastinate_events (job_id, type, at) SELECT n, 'deferred', ${at} FROM generate_series(1, 310000) n`,
    buffers: 5_000,
  },
  {
    system: "good_job",
    fill: (at: string) => `
      INSERT INTO good_jobs (queue_name, priority, scheduled_at, created_at, finished_at)
      SELECT 'queue-' || n % 3, n % 2, timezone('UTC', ${at}), timezone('UTC', ${at}), CASE WHEN n > 310000 THEN now() END FROM generate_series(1, 320000) n`,
    buffers: 100,
  },
  {
    system: "solid_queue",
    fill: (at: string) => `
      INSERT INTO solid_queue_ready_executions (job_id, queue_name, priority, created_at)
      SELECT n, 'queue-' || n % 3, n % 2, timezone('UTC', ${at}) FROM generate_series(1, 300000) n;
      INSERT INTO solid_queue_scheduled_executions (job_id, queue_name, scheduled_at)
      SELECT n, 'queue-' || n % 3, timezone('UTC', ${at}) FROM generate_series(300001, 310000) n`,
    buffers: 100,
  },
  {
    system: "delayed_job",
    fill: (at: string) => `
      INSERT INTO delayed_jobs (queue, priority, run_at, created_at)
      SELECT 'queue-' || n % 3, n % 2, timezone('UTC', ${at}), timezone('UTC', ${at}) FROM generate_series(1, 310000) n`,
    buffers: 5_000,
  },
  {
    system: "que",
    fill: (at: string) => `
      INSERT INTO que_jobs (queue, priority, run_at, finished_at)
      SELECT 'queue-' || n % 3, n % 2, ${at}, CASE WHEN n > 310000 THEN now() END FROM generate_series(1, 320000) n`,
    buffers: 100,
  },
] as const;

/** Of `timestamp(6)` columns, and of monotonic against wall clocks, which drift apart. */
const roundingMs = 5;
/** The n-th job became claimable n ms after an hour ago; those behind the 300,000th do in an hour. */
const claimableAt =
  "now() - interval '1 hour' + n * interval '1 ms' + CASE WHEN n > 300000 THEN interval '2 hours' ELSE interval '0' END";

/** What docs/postgres.md says to grant for it. */
function grants(system: PostgresSystemName): string {
  const page = readFileSync(join(import.meta.dirname, "../../docs/postgres.md"), "utf8");
  const block = /```sql\n(CREATE ROLE[^`]+)```/.exec(page)?.[1] ?? "";
  const plain = (text: string) => text.toLowerCase().replace(/[^a-z]/g, "");
  const [role = "", ...sections] = block.split("-- ");
  const own = sections.find((section) => plain(section.split(/[,.\n]/)[0] ?? "") === plain(system));
  if (own === undefined) throw new Error(`docs/postgres.md has no GRANT for ${system}`);
  return `DO $$ BEGIN ${role} EXCEPTION WHEN duplicate_object THEN NULL; END $$; ${own.slice(own.indexOf("\n"))}`;
}

/** The tables of a system, made by itself where it runs here. */
async function install(system: PostgresSystemName, url: string): Promise<void> {
  const runs = real.find((row) => row.system === system);
  if (runs === undefined) await query(url, fixtures[system as keyof typeof fixtures]);
  else await (await runs.start(url)).stop();
}

async function found(system: PostgresSystemName, url: string): Promise<FoundSystem> {
  const rows = await query(url, discoveryOf([postgresSystems[system]], null));
  const discovery = find(postgresSystems[system], tablesIn(rows));
  if (discovery === null || "problem" in discovery) throw new Error(discovery?.problem ?? "not found");
  return discovery;
}

/** How many pages a statement touches, as the source sends it. */
async function buffersOf(url: string, statement: string): Promise<number> {
  const explain = `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${statement}`;
  const [row] = await query(url, [...settingsByIndex, explain].join(";\n"));
  const plans = row?.["QUERY PLAN"] as { readonly Plan: Readonly<Record<string, number>> }[] | undefined;
  const plan = plans?.[0]?.Plan;
  return (plan?.["Shared Hit Blocks"] ?? Number.NaN) + (plan?.["Shared Read Blocks"] ?? Number.NaN);
}
