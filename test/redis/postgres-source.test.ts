import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { Client } from "pg";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { messageOf, StartError } from "../../src/core/errors.ts";
import { monotonicClock } from "../../src/runtime/clock.ts";
import { postgresPrefixes } from "../../src/settings/postgres-url.ts";
import { createPostgresSource } from "../../src/sources/postgres/postgres.ts";
import { onThisMachine } from "../support/busy-machine.ts";
import { whyNoTls } from "../support/faktory.ts";
import { silentLogger } from "../support/logger.ts";
import { startPgBouncer, whyNoPgBouncer } from "../support/pgbouncer.ts";
import { connect, query, startPostgres, type TestPostgres, whyNoPostgres } from "../support/postgres.ts";
import { fixtures } from "../support/postgres-fixtures.ts";
import { watchPostgres } from "../support/postgres-source.ts";
import { until } from "../support/until.ts";

const title = whyNoPostgres === null ? "the Postgres source" : `the Postgres source (${whyNoPostgres})`;

const push = (queue = "mail", ago = "1 hour") =>
  `INSERT INTO que_jobs (queue, run_at) VALUES ('${queue}', now() - interval '${ago}')`;

describe.skipIf(whyNoPostgres !== null)(title, () => {
  let postgres: TestPostgres;

  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(async () => {
    await postgres?.stop();
  });

  const database = (...statements: readonly string[]) => postgres.createDatabase(...statements);

  describe("Que, by its tables", () => {
    test("jobs that a worker has locked do not wait, and finished, expired and later ones neither", async () => {
      const url = await database(fixtures.que, push("mail", "3 hours"), push("mail", "2 hours"), push());
      const worker = await connected(url);
      await worker.query("SELECT pg_advisory_lock(id) FROM que_jobs ORDER BY run_at LIMIT 2");
      await query(url, "INSERT INTO que_jobs (queue, run_at) VALUES ('mail', now() + interval '1 hour')");
      await query(
        url,
        `INSERT INTO que_jobs (queue, run_at, finished_at, expired_at)
         VALUES ('mail', now() - interval '1 day', now(), NULL), ('mail', now() - interval '1 day', NULL, now())`,
      );
      const watched = await watchPostgres(url);
      const head = await watched.until("que/mail", { depth: 1, scheduled: 1, accuracy: "EXACT" });
      expect(head.headAgeMs).toBeGreaterThan(3_590_000);
      expect(head.headAgeMs).toBeLessThan(7_000_000);
      await worker.query("SELECT pg_advisory_unlock_all()");
      await watched.until("que/mail", { depth: 3, headAgeMs: expect.toSatisfy((ms) => ms > 3 * 3_590_000) });
    });
  });

  describe("GoodJob, by its tables", () => {
    test("the oldest claimable job of any priority, without those that run; a pause of its queue", async () => {
      const at = (ago: string) => `timezone('UTC', now() - interval '${ago}')`;
      const url = await database(
        fixtures.good_job,
        `INSERT INTO good_jobs (queue_name, priority, scheduled_at, performed_at, finished_at) VALUES
          ('latency_30s', 0, ${at("4 hours")}, ${at("1 hour")}, ${at("1 minute")}),
          ('latency_30s', 0, ${at("3 hours")}, ${at("1 minute")}, NULL),
          ('latency_30s', 5, ${at("1 hour")}, NULL, NULL), ('latency_30s', -5, ${at("30 minutes")}, NULL, NULL),
          ('latency_30s', 0, ${at("-1 hour")}, NULL, NULL), ('busy', 0, ${at("1 hour")}, ${at("1 minute")}, NULL)`,
        "UPDATE good_jobs SET created_at = scheduled_at",
        `INSERT INTO good_jobs (queue_name, scheduled_at, created_at) VALUES ('early', ${at("9 hours")}, ${at("1 hour")})`,
        `INSERT INTO good_job_settings (key, value) VALUES ('pauses', '{"queues": ["latency_30s"], "job_classes": ["busy"]}')`,
      );
      const watched = await watchPostgres(url);
      const head = await watched.until("good_job/latency_30s", {
        depth: 2,
        scheduled: 1,
        accuracy: "ESTIMATED",
      });
      expect(head).toMatchObject({ paused: true, headAgeMs: expect.closeTo(3_600_000, -5) });
      await watched.until("good_job/busy", { depth: 0, headAgeMs: null, accuracy: "EXACT", paused: false });
      const early = await watched.until("good_job/early", { depth: 1, accuracy: "LOWER_BOUND" });
      expect(early.headAgeMs).toBeLessThan(2 * 3_600_000);
    });
  });

  describe("Solid Queue, by its tables", () => {
    const at = (ago: string) => `timezone('UTC', now() - interval '${ago}')`;
    // The job with the least id was scheduled: it has been ready for the shortest time.
    const ready = `INSERT INTO solid_queue_ready_executions (job_id, queue_name, created_at) VALUES
      (1, 'mail', ${at("1 minute")}), (2, 'mail', ${at("1 hour")}), (3, 'paused', ${at("1 hour")})`;

    test.each([
      { index: "", accuracy: "LOWER_BOUND", ageMs: 60_000, why: "the job that is claimed next" },
      {
        index: "CREATE INDEX ON solid_queue_ready_executions (queue_name, created_at)",
        ...{ accuracy: "ESTIMATED", ageMs: 3_600_000, why: "the oldest, by Rails's clock" },
      },
    ])("with the index '$index': $why", async ({ index, accuracy, ageMs }) => {
      const url = await database(
        `${fixtures.solid_queue} ${index}`,
        ready,
        `INSERT INTO solid_queue_pauses (queue_name, created_at) VALUES ('paused', now())`,
      );
      const watched = await watchPostgres(url);
      const head = await watched.until("solid_queue/mail", {
        depth: 2,
        scheduled: 0,
        paused: false,
        accuracy,
      });
      expect(head.headAgeMs).toBeGreaterThanOrEqual(ageMs);
      expect(head.headAgeMs).toBeLessThan(ageMs + 60_000);
      await watched.until("solid_queue/paused", { depth: 1, paused: true });
    });

    test("a job that is due and was not dispatched waits", async () => {
      const url = await database(
        fixtures.solid_queue,
        `INSERT INTO solid_queue_scheduled_executions (job_id, queue_name, scheduled_at)
         VALUES (1, 'mail', ${at("1 hour")}), (2, 'mail', ${at("-1 hour")})`,
      );
      const watched = await watchPostgres(url);
      const head = await watched.until("solid_queue/mail", { depth: 1, scheduled: 1 });
      expect(head.headAgeMs).toBeGreaterThan(3_590_000);
    });
  });

  test("a queue behind a thousand due jobs of others that were not dispatched is not known, and not empty", async () => {
    const at = (ago: string) => `timezone('UTC', now() - interval '${ago}')`;
    const due = "INSERT INTO solid_queue_scheduled_executions (job_id, queue_name, scheduled_at)";
    const url = await database(fixtures.solid_queue, `${due} VALUES (0, 'last', ${at("1 hour")})`);
    const watched = await watchPostgres(url);
    await watched.until("solid_queue/last", { depth: 1 });
    await query(url, `${due} SELECT n, 'first', ${at("2 hours")} FROM generate_series(1, 1000) n`);
    await watched.until("solid_queue/last", { accuracy: "UNKNOWN" });
  });

  describe("delayed_job, by its tables", () => {
    test("the oldest job of any priority that no living worker has, and those without a queue as default", async () => {
      const at = (ago: string) => `timezone('UTC', now() - interval '${ago}')`;
      const url = await database(
        fixtures.delayed_job,
        `INSERT INTO delayed_jobs (queue, priority, run_at, created_at, locked_at, failed_at) VALUES
          ('mail', 0, ${at("9 hours")}, ${at("9 hours")}, NULL, ${at("1 hour")}),
          ('mail', 0, ${at("8 hours")}, ${at("8 hours")}, ${at("1 minute")}, NULL),
          ('mail', 5, ${at("2 hours")}, ${at("2 hours")}, NULL, NULL), ('mail', -5, ${at("1 hour")}, ${at("1 hour")}, NULL, NULL),
          ('mail', 0, ${at("-1 hour")}, ${at("1 hour")}, NULL, NULL),
          (NULL, 0, ${at("1 hour")}, ${at("1 hour")}, NULL, NULL), ('default', 0, ${at("2 hours")}, ${at("2 hours")}, NULL, NULL),
          ('died', 0, ${at("9 hours")}, ${at("9 hours")}, ${at("6 hours")}, NULL),
          ('early', 0, ${at("9 hours")}, ${at("1 hour")}, NULL, NULL), ('later', 0, ${at("-1 hour")}, ${at("0 hours")}, NULL, NULL)`,
      );
      const watched = await watchPostgres(url);
      const hours = (n: number) =>
        expect.toSatisfy((ms) => ms >= n * 3_600_000 && ms < n * 3_600_000 + 1_800_000);
      const ESTIMATED = { accuracy: "ESTIMATED", paused: false } as const;
      await watched.until("delayed_job/mail", { ...ESTIMATED, depth: 2, scheduled: 1, headAgeMs: hours(2) });
      await watched.until("delayed_job/default", { ...ESTIMATED, depth: 2, headAgeMs: hours(2) });
      await watched.until("delayed_job/died", { ...ESTIMATED, depth: 1, headAgeMs: hours(2) });
      await watched.until("delayed_job/early", { accuracy: "LOWER_BOUND", depth: 1, headAgeMs: hours(1) });
      await watched.until("delayed_job/later", {
        headAgeMs: null,
        accuracy: "EXACT",
        depth: 0,
        scheduled: 1,
      });
    });
  });

  describe("a job whose time is", () => {
    interface Time {
      readonly runAt: string;
      readonly seen: object;
      readonly why: string;
    }
    const number = expect.any(Number);
    const times: readonly Time[] = [
      {
        ...{ runAt: "-infinity", why: "it can be taken, and nothing says since when" },
        seen: { depth: 1, scheduled: 0, headAgeMs: number, accuracy: "UNKNOWN" },
      },
      {
        ...{ runAt: "infinity", why: "it never can" },
        seen: { depth: 0, scheduled: 1, headAgeMs: null, accuracy: "EXACT" },
      },
      {
        ...{ runAt: "0001-01-01 BC", why: "it is a time" },
        seen: { depth: 1, scheduled: 0, headAgeMs: expect.toSatisfy((ms) => ms > 6e13), accuracy: "EXACT" },
      },
      {
        ...{ runAt: "294276-12-31", why: "the last year that there is" },
        seen: { depth: 0, scheduled: 1, headAgeMs: null, accuracy: "EXACT" },
      },
    ];

    test.each(times)("$runAt: $why, and it hides no other queue", async ({ runAt, seen }) => {
      const insert = `INSERT INTO que_jobs (queue, run_at) VALUES ('odd', '${runAt}')`;
      const url = await database(fixtures.que, push(), insert);
      const watched = await watchPostgres(url);
      await watched.until("que/odd", seen);
      await watched.until("que/mail", { depth: 1, accuracy: "EXACT" });
      for (const { queues } of watched.seen)
        for (const { headAgeMs } of queues) expect(Number.isFinite(headAgeMs ?? 0)).toBe(true);
      await query(url, "DELETE FROM que_jobs WHERE queue = 'odd'");
      await watched.until("que/odd", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
    });
  });

  test("a connection that the server ends is opened again, and nothing is wrong meanwhile", async () => {
    const url = await database(fixtures.que, push());
    const watched = await watchPostgres(url);
    await watched.until("que/mail", { depth: 1 });
    const end = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE datname = current_database() AND application_name LIKE 'queue-latency%'`;
    for (let n = 2; n < 5; n++) {
      await query(url, end);
      await query(url, push());
      await watched.until("que/mail", { depth: n });
    }
    for (const { queues } of watched.seen) expect(queues).toMatchObject([{ headAgeMs: expect.any(Number) }]);
  });

  describe("a hot standby", () => {
    let primary: TestPostgres;
    let standby: TestPostgres;

    beforeAll(async () => {
      primary = await startPostgres({ hasStandbys: true });
      standby = await startPostgres({ standbyOf: primary });
    });
    afterAll(async () => {
      await standby?.stop();
      await primary?.stop();
    });

    /** On the primary; what is watched is the copy. */
    async function replicated(...statements: readonly string[]) {
      const url = await primary.createDatabase();
      for (const statement of statements) await query(url, statement);
      const copy = url.replace(primary.url, standby.url);
      await until(() => query(copy, "SELECT 1 FROM que_jobs"));
      return { url, watched: await watchPostgres(`${copy}?system=que`) };
    }

    test("does not know which jobs of Que are in work, and says so; that none waits it knows", async () => {
      const { url, watched } = await replicated(fixtures.que, push());
      const worker = await connected(url);
      await worker.query("SELECT pg_advisory_lock(id) FROM que_jobs");
      const head = await watched.until("que/mail", { accuracy: "UNKNOWN", depth: null });
      await watched.until("que/mail", { headAgeMs: expect.toSatisfy((ms) => ms > (head.headAgeMs ?? 0)) });
      await query(url, "DELETE FROM que_jobs");
      await watched.until("que/mail", { accuracy: "EXACT", depth: 0, headAgeMs: null });
      expect(watched.notable()).toEqual([]);
    });

    test.each([
      {
        why: "it replays nothing",
        stop: () => query(`${standby.url}/postgres`, "SELECT pg_wal_replay_pause()"),
        go: () => query(`${standby.url}/postgres`, "SELECT pg_wal_replay_resume()"),
        isWritten: true,
      },
      {
        why: "it has lost its primary",
        stop: () => primary.halt(),
        go: () => primary.resume(),
        isWritten: false,
      },
    ])("that is behind is away, since $why, until it has caught up", async ({ stop, go, isWritten }) => {
      const { url, watched } = await replicated(fixtures.que, push());
      await watched.until("que/mail", { accuracy: "UNKNOWN" });
      await stop();
      if (isWritten) await query(url, "DELETE FROM que_jobs");
      const { err } = await watched.logged("source unavailable");
      expect(messageOf(err)).toContain("this standby has not replayed what its primary writes");
      const count = watched.seen.length;
      await watched.logged("source unavailable", 5);
      expect(watched.seen).toHaveLength(count);
      await go();
      if (!isWritten) await query(url, "DELETE FROM que_jobs");
      await watched.until("que/mail", { accuracy: "EXACT", depth: 0, headAgeMs: null });
      expect(watched.notable()).toEqual(["warn source unavailable", "info source available again"]);
    });
  });

  test("finds a system whose tables appear later, and says once that there was none", async () => {
    const url = await database();
    const watched = await watchPostgres(url);
    await watched.logged("no job tables found", 2);
    await query(url, `${fixtures.que} ${push()}`);
    await watched.until("que/mail", { depth: 1 });
    expect(watched.notable()).toEqual(["warn no job tables found", "info job tables found"]);
  });

  test("three jobs beside 20,000 that are to run later are at least three, and not 10,000", async () => {
    const later =
      "INSERT INTO que_jobs (queue, run_at) SELECT 'mail', now() + interval '1 day' FROM generate_series(1, 20000)";
    const url = await database(fixtures.que, push(), push(), push(), later);
    const watched = await watchPostgres(url);
    await watched.until("que/mail", { depth: 3, depthIsLowerBound: true, scheduled: null });
  });

  test("a queue behind 10,000 others is not known, and not empty", async () => {
    const url = await database(fixtures.que, push("zz-last"));
    const watched = await watchPostgres(url);
    await watched.until("que/zz-last", { depth: 1, accuracy: "EXACT" });
    await query(url, "INSERT INTO que_jobs (queue) SELECT 'queue-' || n FROM generate_series(1, 10000) n");
    await watched.until("que/zz-last", { accuracy: "UNKNOWN" });
  });

  test("says when each reading began, for traces", async () => {
    const watched = await watchPostgres(await database(fixtures.que, push()));
    const { readAtMs } = await watched.until("que/mail", { depth: 1 });
    const startsMs = watched.seen.map(({ sinceMs }) => sinceMs);
    expect(startsMs).toEqual(startsMs.map(() => expect.any(Number)));
    expect(startsMs[0]).toBeLessThan(readAtMs);
  });

  test("a queue that has become empty is empty, and not gone", async () => {
    const url = await database(fixtures.que, push());
    const watched = await watchPostgres(url);
    await watched.until("que/mail", { depth: 1 });
    await query(url, "DELETE FROM que_jobs");
    await watched.until("que/mail", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
  });

  test.each([
    { change: "DROP TABLE que_jobs", back: fixtures.que, says: "there is no table que_jobs" },
    {
      change: "ALTER TABLE que_jobs RENAME COLUMN run_at TO runs_at",
      ...{ back: "ALTER TABLE que_jobs RENAME COLUMN runs_at TO run_at", says: "has no column run_at" },
    },
  ])(
    "after '$change' it reports nothing, says so once, and goes on after that",
    async ({ change, back, says }) => {
      const url = await database(fixtures.que, push());
      const watched = await watchPostgres(url);
      await watched.until("que/mail", { depth: 1 });
      await query(url, change);
      await until(() =>
        expect(watched.log.map(({ err }) => messageOf(err))).toContainEqual(expect.stringContaining(says)),
      );
      const count = watched.seen.length;
      await watched.logged("no job tables found", 3);
      expect(watched.seen).toHaveLength(count);
      await query(url, back);
      await watched.next();
      expect(watched.notable().filter((line) => line.includes("job tables unavailable"))).toHaveLength(1);
      expect(watched.notable()).toContain("info job tables available again");
    },
  );

  describe("a role that may only read", () => {
    test("needs USAGE and SELECT: a missing one is warned of, and hides no other system", async () => {
      const url = await database(
        `${fixtures.que} ${push()}`,
        `CREATE SCHEMA jobs; SET search_path = jobs; ${fixtures.solid_queue}`,
        "DROP ROLE IF EXISTS reader; CREATE ROLE reader LOGIN",
        "GRANT SELECT ON que_jobs TO reader",
      );
      const watched = await watchPostgres(url.replace("postgres@", "reader@"));
      await watched.until("que/mail", { depth: 1, headAgeMs: expect.any(Number) });
      const { err, source } = await watched.logged("job tables unavailable", 2);
      expect(source).toBe("solid_queue");
      expect(messageOf(err)).toContain(
        'GRANT USAGE on the schema and SELECT on "jobs"."solid_queue_ready_executions"',
      );
      expect(watched.notable()).toEqual(["warn job tables unavailable"]);
      await query(
        url,
        "GRANT USAGE ON SCHEMA jobs TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA jobs TO reader",
      );
      await watched.logged("job tables available again");
    });

    test("does not take rows that row security hides for an empty queue", async () => {
      const url = await database(
        `${fixtures.que} ${push()}`,
        "DROP ROLE IF EXISTS blind; CREATE ROLE blind LOGIN; GRANT SELECT ON que_jobs TO blind",
        "ALTER TABLE que_jobs ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY of_others ON que_jobs FOR SELECT TO pg_monitor USING (true)",
      );
      const watched = await watchPostgres(url.replace("postgres@", "blind@"));
      const { err } = await watched.logged("job tables unavailable", 2);
      expect(messageOf(err)).toContain("row security hides");
      expect(watched.seen).toEqual([]);
      await query(url, "CREATE POLICY reads ON que_jobs FOR SELECT TO blind USING (true)");
      await watched.until("que/mail", { depth: 1, headAgeMs: expect.any(Number) });
    });
  });

  test("reads the schema that the URL names, and refuses to choose between two", async () => {
    const url = await database(
      `CREATE SCHEMA "a b"; SET search_path = "a b"; ${fixtures.que} ${push("one")}`,
      `CREATE SCHEMA c; SET search_path = c; ${fixtures.que} ${push("two")}`,
    );
    const both = await watchPostgres(url);
    const { err } = await both.logged("job tables unavailable", 2);
    expect(messageOf(err)).toContain("found in the schemas a b, c");
    const one = await watchPostgres(`${url}?schema=a%20b&system=que`);
    await one.until("que/one", { depth: 1 });
    expect(one.latest("que/two")).toBeUndefined();
  });

  test("leaves out queues whose names cannot be shown, and warns once", async () => {
    const url = await database(fixtures.que, push("two\nlines"), push("x".repeat(200)), push());
    const watched = await watchPostgres(url);
    await watched.until("que/mail", { depth: 1 });
    await watched.next();
    expect(watched.seen.at(-1)?.queues.map(({ queue }) => queue)).toEqual(["mail"]);
    expect(watched.notable()).toHaveLength(1);
  });

  test("names with quotes are names", async () => {
    const url = await database(fixtures.que, push(`it''s; DROP TABLE que_jobs --\\`));
    const watched = await watchPostgres(url);
    await watched.until("que/it's; DROP TABLE que_jobs --\\", { depth: 1 });
  });

  test("a lock on the table is a slow reading, not a pile of statements; then it reads again", async () => {
    const url = await database(fixtures.que, push());
    const watched = await watchPostgres(url);
    await watched.until("que/mail", { depth: 1 });
    const migration = await connected(url);
    await migration.query("BEGIN; LOCK TABLE que_jobs IN ACCESS EXCLUSIVE MODE");
    const { err } = await watched.logged("job tables unavailable", 2);
    expect(messageOf(err)).toBe("canceling statement due to statement timeout");
    const ours = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'queue-latency%'`;
    expect(await query(url, ours)).toEqual([{ n: 1 }]);
    const count = watched.seen.length;
    await watched.logged("job tables unavailable", 3);
    expect(watched.seen).toHaveLength(count);
    await migration.query("COMMIT");
    await watched.until("que/mail", { depth: 1 });
    expect(watched.notable()).toEqual(["warn job tables unavailable", "info job tables available again"]);
  });

  test("rests after its work, and its reading is fresh for as long", async () => {
    const url = await database(fixtures.que, push());
    const watched = await watchPostgres(url, { restPerWork: 1_000_000 });
    await until(() => expect(watched.latest("que/mail")).toBeDefined());
    // What took 0.01 ms rests for 10 s.
    expect(watched.seen[0]?.freshForMs).toBeGreaterThan(30_000);
    expect(watched.seen).toHaveLength(1);
  });

  test("a slow system rests for itself alone", async () => {
    const url = await database(
      `${fixtures.good_job} INSERT INTO good_jobs (queue_name, scheduled_at) VALUES ('fast', timezone('UTC', now()))`,
      `${fixtures.que} ${push()}`,
    );
    const migration = await connected(url);
    await migration.query("BEGIN; LOCK TABLE que_jobs IN ACCESS EXCLUSIVE MODE");
    // A statement that is cancelled makes its system rest for 500 times 500 ms.
    const watched = await watchPostgres(`${url}?system=good_job,que`, { restPerWork: 500 });
    await watched.logged("job tables unavailable");
    const fastOnes = () => watched.seen.filter(({ source }) => source === "good_job").length;
    const count = fastOnes();
    await until(() => expect(fastOnes()).toBeGreaterThan(count + 3));
    expect(watched.log.filter(({ message }) => message === "job tables unavailable")).toHaveLength(1);
  });

  test("counts the jobs of a system although another has more queues than can be counted in time", async () => {
    const url = await database(
      `${fixtures.que} INSERT INTO que_jobs (queue) SELECT 'queue-' || n FROM generate_series(1, 1000) n`,
      `${fixtures.solid_queue} INSERT INTO solid_queue_ready_executions (job_id, queue_name, created_at) VALUES (1, 'mail', now())`,
    );
    const watched = await watchPostgres(`${url}?system=que,solid_queue`, {
      countEveryMs: 0,
      restPerWork: 200,
    });
    await watched.until("solid_queue/mail", { depth: 1 });
  });

  test("writes nothing, and leaves no transaction open", async () => {
    const url = await database(fixtures.que, push());
    const watched = await watchPostgres(url, { intervalMs: 60_000 });
    await until(() => expect(watched.latest("que/mail")).toBeDefined());
    await until(async () => {
      const [state] = await query(
        url,
        `SELECT state, xact_start, query FROM pg_stat_activity
         WHERE datname = current_database() AND application_name LIKE 'queue-latency%'`,
      );
      expect(state).toMatchObject({ state: "idle", xact_start: null });
      expect(state?.query).toMatch(/^SET LOCAL transaction_read_only = on;/);
    });
  });

  test("is away while the server is, warns once, and is back by itself", async () => {
    await using own = await startPostgres();
    const url = await own.createDatabase();
    await query(url, `${fixtures.que} ${push()}`);
    const watched = await watchPostgres(url);
    await watched.until("que/mail", { depth: 1 });
    await own.halt();
    await watched.logged("source unavailable", 3);
    const count = watched.seen.length;
    await watched.logged("source unavailable", 6);
    expect(watched.seen).toHaveLength(count);
    await own.resume();
    await watched.until("que/mail", { depth: 1 });
    expect(watched.notable()).toEqual(["warn source unavailable", "info source available again"]);
    await watched.stop();
  });

  test("reads what another server at the same address has, after a failover", async () => {
    await using first = await startPostgres();
    const url = await first.createDatabase();
    await query(url, `${fixtures.que} ${push()}`);
    const watched = await watchPostgres(url);
    await watched.until("que/mail", { depth: 1 });
    await first.halt();
    await watched.logged("source unavailable");
    await using second = await startPostgres({ port: first.port });
    expect(await second.createDatabase()).toBe(url);
    await query(url, `${fixtures.que} ${push()}; ${push()}`);
    await watched.until("que/mail", { depth: 2 });
    expect(watched.seen.some(({ queues }) => queues.some(({ headAgeMs }) => headAgeMs === null))).toBe(false);
    await watched.stop();
  });

  test("a head behind 90,000 dead rows, which an older snapshot keeps, is read late and not wrong", async () => {
    const url = await database(fixtures.que, push("mail", "1 hour"));
    const elsewhere = await connected(url);
    await elsewhere.query("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    await query(
      url,
      "INSERT INTO que_jobs (queue, run_at) SELECT 'mail', now() - interval '2 hours' FROM generate_series(1, 90000)",
    );
    await query(url, "DELETE FROM que_jobs WHERE run_at < now() - interval '90 minutes'");
    const watched = await watchPostgres(url, { restPerWork: 20 });
    const head = await watched.until("que/mail", { depth: 1, accuracy: "EXACT" });
    expect(head.headAgeMs).toBeGreaterThan(3_590_000);
    expect(head.headAgeMs).toBeLessThan(5_400_000);
    expect(watched.seen.some(({ queues }) => queues.some(({ headAgeMs }) => headAgeMs === null))).toBe(false);
  });

  test("a job of a transaction that has not been committed does not wait yet", async () => {
    const url = await database(fixtures.que, push("other"));
    const producer = await connected(url);
    await producer.query(`BEGIN; ${push("mail", "0 s")}`);
    const watched = await watchPostgres(url);
    await watched.until("que/other", { depth: 1 });
    expect(watched.latest("que/mail")).toBeUndefined();
    await producer.query("COMMIT");
    await watched.until("que/mail", { depth: 1 });
  });

  test.skipIf(whyNoTls !== null)("uses TLS as the mode says, and verifies what it is to verify", async () => {
    await using own = await startPostgres({ tls: true });
    const url = (await own.createDatabase()).replace("127.0.0.1", "localhost");
    await query(url, `${fixtures.que} ${push()}`);
    const byAddress = url.replace("localhost", "127.0.0.1");
    const ca = `sslrootcert=${own.certificateFile}`;
    for (const works of [
      url,
      `${url}?sslmode=allow`,
      `${url}?sslmode=require`,
      `${byAddress}?sslmode=verify-ca&${ca}`,
      `${url}?sslmode=verify-full&${ca}`,
    ]) {
      const watched = await watchPostgres(works);
      await watched.until("que/mail", { depth: 1 });
      await watched.stop();
    }
    for (const [fails, why] of [
      [`${url}?sslmode=disable`, "no encryption"],
      [`${url}?sslmode=verify-full`, "self-signed certificate"],
      [`${url}?sslrootcert=system`, "self-signed certificate"],
      [`${byAddress}?sslmode=verify-full&${ca}`, "does not match certificate's altnames"],
    ] as const) {
      const watched = await watchPostgres(fails);
      const { err } = await watched.logged("source unavailable");
      expect(messageOf(err)).toContain(why);
      await watched.stop();
    }
  });

  test("a server without TLS is refused where the mode asks for it", async () => {
    const watched = await watchPostgres(`${await database()}?sslmode=require`);
    const { err } = await watched.logged("source unavailable", 2);
    expect(messageOf(err)).toBe("The server does not support SSL connections");
  });

  test.skipIf(whyNoPgBouncer !== null)(
    "reads by a PgBouncer in transaction mode, and leaves its connection as it was",
    async () => {
      const url = await database(fixtures.que, push());
      await using bouncer = await startPgBouncer(postgres.port);
      const by = url.replace(`:${postgres.port}/`, `:${bouncer.port}/`);
      const watched = await watchPostgres(by);
      await watched.until("que/mail", { depth: 1 });
      // The one connection that the PgBouncer has to the server.
      const [settings] = await query(
        by,
        `SELECT current_setting('statement_timeout') AS timeout, current_setting('transaction_read_only') AS "readOnly",
          current_setting('enable_seqscan') AS seqscan, (SELECT count(*)::int FROM pg_stat_activity
            WHERE datname = current_database()) AS connections`,
      );
      expect(settings).toEqual({ timeout: "0", readOnly: "off", seqscan: "on", connections: 1 });
      await query(by, push());
      await watched.until("que/mail", { depth: 2 });
      expect(watched.notable()).toEqual([]);
      await watched.stop();
    },
  );

  test("a wrong password is warned of, and stands nowhere in the log", async () => {
    await using own = await startPostgres();
    await query(`${own.url}/postgres`, "CREATE ROLE app LOGIN PASSWORD '50% of p@ss/word:é'");
    const url = await own.createDatabase();
    await query(url, `${fixtures.que} ${push()}; GRANT SELECT ON que_jobs TO app`);
    await own.requirePasswords();
    const right = url.replace("postgres@", `app:${encodeURIComponent("50% of p@ss/word:é")}@`);
    const reading = await watchPostgres(right);
    await reading.until("que/mail", { depth: 1 });
    const wrong = await watchPostgres(url.replace("postgres@", "app:hunter2@"));
    const { err } = await wrong.logged("source unavailable", 2);
    expect(messageOf(err)).toBe('password authentication failed for user "app"');
    expect(JSON.stringify(wrong.log.map((line) => ({ ...line, err: fieldsOf(line.err) })))).not.toContain(
      "hunter2",
    );
    await reading.stop();
    await wrong.stop();
  });

  test("stop() resolves at once while a server accepts and never answers", async () => {
    const sockets: Socket[] = [];
    const server = createServer((socket) => void sockets.push(socket.resume())).listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const watched = await watchPostgres(`postgres://a@127.0.0.1:${(server.address() as AddressInfo).port}/b`);
    await until(() => expect(sockets).toHaveLength(1));
    const startedAtMs = monotonicClock.now();
    await watched.stop();
    expect(monotonicClock.now() - startedAtMs).toBeLessThan(onThisMachine(1_250));
    await until(() => expect(sockets[0]?.closed).toBe(true));
    expect(watched.log).toEqual([]);
  });

  test("a sink that fails is not the database's fault: it is logged once, and reading goes on", async () => {
    const url = await database(fixtures.que, push());
    let works = false;
    const watched = await watchPostgres(url, {}, () => works);
    await watched.logged("source reading not stored", 3);
    works = true;
    await watched.logged("source readings stored again");
    expect(watched.notable()).toEqual([
      "warn source reading not stored",
      "info source readings stored again",
    ]);
  });
});

test.each(["redis://:hunter2@localhost", "postgres://hunter2@/", "hunter2"])("refuses the URL %s", (url) => {
  const prefixes = postgresPrefixes("postgres://a@b/c", null);
  const sink = { observe: async () => {}, notes: async () => new Map() };
  const options = { url, intervalMs: 20, sink, logger: silentLogger, prefixes };
  expect(() => createPostgresSource(options)).toThrow(StartError);
  expect(() => createPostgresSource(options)).not.toThrow(/hunter2/);
});

/** What a structured log prints of an error: its enumerable fields too. */
function fieldsOf(err: unknown): unknown {
  return err instanceof Error ? { ...err, name: err.name, message: err.message, stack: err.stack } : err;
}

async function connected(url: string): Promise<Client> {
  const client = await connect(url);
  onTestFinished(() => client.end());
  return client;
}
