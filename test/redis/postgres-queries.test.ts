import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { messageOf } from "../../src/core/errors.ts";
import { type PostgresQuery, parsePostgresQueries } from "../../src/settings/parse-postgres-queries.ts";
import { query, startPostgres, type TestPostgres, whyNoPostgres } from "../support/postgres.ts";
import { type WatchedPostgres, watchPostgres } from "../support/postgres-source.ts";
import { until } from "../support/until.ts";

const title = whyNoPostgres === null ? "queries of tables of one's own" : `queries (${whyNoPostgres})`;

const orders = `
  CREATE TABLE orders (
    id bigserial PRIMARY KEY, shop text, created_at timestamptz NOT NULL DEFAULT now(), local_at timestamp DEFAULT now(), done_at timestamptz
  );
  CREATE INDEX ON orders (shop, created_at) WHERE done_at IS NULL;`;
const waiting = (shop: string, ago: string) =>
  `INSERT INTO orders (shop, created_at) VALUES ('${shop}', now() - interval '${ago}');`;
const right = `SELECT shop AS queue, min(created_at) AS oldest, count(*) AS depth
  FROM orders WHERE done_at IS NULL GROUP BY shop`;

describe.skipIf(whyNoPostgres !== null)(title, () => {
  let postgres: TestPostgres;

  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(async () => {
    await postgres?.stop();
  });

  const database = (...statements: readonly string[]) => postgres.createDatabase(...statements);
  const fileOf = (yaml: string): readonly PostgresQuery[] =>
    parsePostgresQueries(yaml).map((each) => ({ ...each, file: "/etc/queries.yml" }));
  const block = (name: string, select: string) => `${name}: |\n  ${select.replaceAll("\n", "\n  ")}\n`;
  async function watch(
    url: string,
    yaml: string,
  ): Promise<WatchedPostgres & { readonly refused: Set<string> }> {
    const queries = fileOf(yaml);
    const refused = new Set<string>();
    const watched = await watchPostgres(url, { queries: () => queries, refusedQueries: refused });
    return { ...watched, refused };
  }

  test("say how its queues stand, and that one without a row is empty", async () => {
    const url = await database(
      orders,
      waiting("north", "1 hour"),
      waiting("north", "1 minute"),
      waiting("it''s", "1 minute"),
    );
    const watched = await watch(url, block("orders", right));
    const north = await watched.until("orders/north", { depth: 2, accuracy: "ESTIMATED", paused: false });
    expect(north.headAgeMs).toBeGreaterThanOrEqual(3_600_000);
    expect(north.headAgeMs).toBeLessThan(3_700_000);
    await watched.until("orders/it's", { depth: 1 });
    await query(url, "UPDATE orders SET done_at = now() WHERE shop = 'north'");
    await watched.until("orders/north", { depth: 0, headAgeMs: null, accuracy: "EXACT" });
    // It finds no tables of a job system, which is no reason to warn.
    expect(watched.notable()).toEqual([]);
  });

  test("may say more: an age in seconds, a pause, a limit of the count, jobs for later", async () => {
    const select = `SELECT 'all' AS queue, 90.5 AS age_seconds, 10001 AS depth, true AS depth_is_lower_bound,
      7::bigint AS scheduled, true AS paused`;
    const watched = await watch(
      await database(),
      `own:\n  accuracy: EXACT\n  select: ${select.replace("\n", " ")};`,
    );
    await watched.until("own/all", {
      ...{ headAgeMs: 90_500, depth: 10_001, depthIsLowerBound: true },
      ...{ scheduled: 7, paused: true, accuracy: "EXACT" },
    });
  });

  test("are read in whatever time zone the database, the role and the column are", async () => {
    const url = await database(
      orders,
      waiting("tokyo", "1 hour"),
      "ALTER ROLE postgres SET timezone = 'Asia/Tokyo'; UPDATE orders SET local_at = timezone('UTC', created_at)",
    );
    await query(url, `ALTER DATABASE ${new URL(url).pathname.slice(1)} SET timezone = 'America/New_York'`);
    const local = right.replace("min(created_at)", "min(local_at) AT TIME ZONE 'UTC'");
    const watched = await watch(url, block("orders", right) + block("local", local));
    for (const name of ["orders/tokyo", "local/tokyo"])
      await watched.until(name, { headAgeMs: expect.toSatisfy((ms) => ms >= 3_600_000 && ms < 3_700_000) });
    await query(url, "ALTER ROLE postgres RESET timezone");
  });

  test("that contradict themselves are UNKNOWN", async () => {
    const url = await database(orders, waiting("north", "1 hour"));
    const watched = await watch(
      url,
      block("none", right.replace("min(created_at)", "min(done_at)")) +
        block("zero", right.replace("count(*)", "count(done_at)")) +
        block("later", right.replace("min(created_at)", "max(created_at) + interval '1 day'")),
    );
    for (const name of ["none", "zero", "later"])
      await watched.until(`${name}/north`, {
        accuracy: "UNKNOWN",
        depth: null,
        headAgeMs: expect.any(Number),
      });
  });

  test.each([
    {
      select: "SELECT shop AS queue,\n min(creatd_at) AS oldest, 1 AS depth FROM orders",
      line: 3,
      says: 'column "creatd_at" does not exist',
    },
    { select: "SELECT 1\nFROM nothing", line: 3, says: 'relation "nothing" does not exist' },
    { select: `${right} LIMITS`, line: 3, says: "syntax error" },
    {
      select: right.replace("min(created_at)", "min(local_at)"),
      line: 2,
      says: "column oldest: expected timestamptz",
    },
    { select: right.replace("AS depth", "AS size"), line: 2, says: 'found "size"' },
    {
      select: "SELECT 'a' AS queue, now() AS oldest, 1 AS depth FROM orders\nFOR UPDATE",
      line: 2,
      says: "cannot execute SELECT FOR UPDATE in a read-only transaction",
    },
    {
      select:
        "WITH gone AS (DELETE FROM orders RETURNING *)\nSELECT 'a' AS queue, now() AS oldest, count(*) AS depth FROM gone",
      line: 2,
      says: "data-modifying statement",
    },
    {
      select: "SELECT 'a' AS queue, now() AS oldest, nextval('orders_id_seq') AS depth",
      line: 2,
      says: "cannot execute nextval() in a read-only transaction",
    },
    {
      select: "SELECT 'a' AS queue, now() AS oldest, wipe() AS depth",
      line: 2,
      says: "cannot execute DELETE in a read-only transaction",
    },
    {
      select: "SELECT 'a' AS queue, now() AS oldest, wipe_at_once() AS depth",
      line: 2,
      says: "DELETE is not allowed in a non-volatile function",
    },
    { select: "SELECT 'a' AS queue, now() AS oldest, 1 AS depth INTO copy", line: 2, says: "INTO" },
    {
      select: `${right}) AS a; COMMIT; DELETE FROM orders; SELECT * FROM (SELECT 1`,
      line: 2,
      says: "cannot insert multiple commands",
    },
    {
      select: "SELECT 'a' AS queue, now() AS oldest, n AS depth FROM generate_series(1, 2) n",
      line: 2,
      says: "expected one row for each queue",
    },
    {
      select: "SELECT 'a' AS queue, now() AS oldest, count(*) AS depth FROM orders a, orders b, orders c",
      line: 2,
      says: "the limit is 5000",
    },
    {
      select: "SELECT 'a' AS queue, now() AS oldest, 1 AS depth FROM pg_sleep(30)",
      line: 2,
      says: "statement timeout",
    },
  ])("are refused with the line, once, and write nothing: $says", async ({ select, line, says }) => {
    const url = await database(
      orders,
      `CREATE FUNCTION wipe() RETURNS bigint LANGUAGE sql VOLATILE AS 'DELETE FROM orders; SELECT 1::bigint';
       CREATE FUNCTION wipe_at_once() RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS 'BEGIN DELETE FROM orders; RETURN 1; END'`,
      "INSERT INTO orders (shop) SELECT 'north' FROM generate_series(1, 1000)",
      "ANALYZE orders",
    );
    const watched = await watch(url, block("bad", select) + block("good", right));
    await watched.until("good/north", { depth: 1_000 });
    const { err, source } = await watched.logged("Postgres query refused", 2);
    expect(messageOf(err)).toMatch(`/etc/queries.yml, line ${line}: `);
    expect(messageOf(err)).toContain(says);
    expect(source).toBe("bad");
    expect(watched.notable()).toEqual(["warn Postgres query refused"]);
    expect(watched.seen.some((observed) => observed.source === "bad")).toBe(false);
    expect([...watched.refused]).toEqual(["bad"]);
    expect(await query(url, "SELECT count(*)::int AS n FROM orders")).toEqual([{ n: 1_000 }]);
  });

  test("may cost what the file allows", async () => {
    const select = "SELECT 'a' AS queue, now() AS oldest, count(*) AS depth FROM generate_series(1, 100000)";
    const watched = await watch(
      await database(),
      `expensive:\n  max_cost: 100\n  select: ${select}\nallowed: ${select}\n`,
    );
    await watched.until("allowed/a", { depth: 100_000 });
    const { err } = await watched.logged("Postgres query refused");
    expect(messageOf(err)).toMatch(/its plan costs \d+, the limit is 100:/);
    expect([...watched.refused]).toEqual(["expensive"]);
  });

  test("are refused when their table changes, and read again when it is back", async () => {
    const url = await database(orders, waiting("north", "1 hour"));
    const watched = await watch(url, block("orders", right));
    await watched.until("orders/north", { depth: 1 });
    await query(url, "ALTER TABLE orders ALTER created_at TYPE timestamp");
    const { err } = await watched.logged("Postgres query refused", 2);
    expect(messageOf(err)).toContain("column oldest: expected timestamptz");
    const count = watched.seen.length;
    await watched.logged("Postgres query refused", 3);
    expect(watched.seen).toHaveLength(count);
    await query(url, "ALTER TABLE orders ALTER created_at TYPE timestamptz");
    await watched.until("orders/north", { depth: 1 });
    expect(watched.notable()).toEqual(["warn Postgres query refused", "info Postgres query accepted again"]);
    expect([...watched.refused]).toEqual([]);
  });

  test("that leave the file are forgotten, and those that come are read", async () => {
    const url = await database(orders, waiting("north", "1 hour"));
    let file = fileOf(block("before", right));
    const watched = await watchPostgres(url, { queries: () => file });
    await watched.until("before/north", { depth: 1 });
    file = fileOf(block("after", right));
    await watched.until("after/north", { depth: 1 });
    await until(() => expect(watched.seen.findLast(({ source }) => source === "before")?.queues).toEqual([]));
  });
});
