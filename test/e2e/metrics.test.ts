import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it, test } from "vitest";
import { dashboardExpressions } from "../support/grafana-dashboard.ts";
import { promtool, startPrometheus, whyNoPrometheus } from "../support/prometheus.ts";
import { startRedis, uniquePrefix } from "../support/redis.ts";
import { ask, post, startApp } from "../support/server.ts";
import { bearer, type TestTokens, tokenFile } from "../support/tokens.ts";
import { until } from "../support/until.ts";

const title = whyNoPrometheus === null ? "" : ` (${whyNoPrometheus})`;
const rules = join(import.meta.dirname, "../../docs/prometheus-rules.yml");
/** Printable, and each a trap for writers and readers of labels. */
const oddNames = ['a"b', "a\\b", 'a\\"} 1', '{queue="x"}', "a,b=c", "# HELP x", "日本 🚀", "a%b|c"];

let tokens: TestTokens;
let app: Awaited<ReturnType<typeof startApp>>;

beforeAll(async () => {
  tokens = await tokenFile({ prometheus: "read", recorder: "record", ops: "read,record,admin" });
  const env = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() };
  app = await startApp({ ...env, API_TOKENS_FILE: tokens.path });
});
afterAll(async () => {
  await app?.stop();
  await tokens?.[Symbol.asyncDispose]();
});

const metrics = (headers: Readonly<Record<string, string>> = bearer("prometheus"), method = "GET") =>
  fetch(`${app.url}/metrics`, { method, headers });
const record = async (events: readonly object[]) => {
  const mutation = "mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }";
  const { body } = await post(app.url, { query: mutation, variables: { events } }, bearer("ops"));
  expect(body.errors).toBeUndefined();
};
const ago = (seconds: number) => new Date(Date.now() - seconds * 1_000).toISOString();

describe("/metrics", () => {
  test.each([
    { headers: {}, status: 401, code: "UNAUTHENTICATED", why: "strangers get nothing" },
    { headers: bearer("guessed"), status: 401, code: "UNAUTHENTICATED", why: "nor are those who guess" },
    { headers: bearer("recorder"), status: 403, code: "FORBIDDEN", why: "to record is not to read" },
    {
      headers: { ...bearer("prometheus"), origin: "https://other.example.com" },
      status: 403,
      code: "FORBIDDEN",
      why: "a page of another origin asks",
    },
  ])("answers $headers with $status: $why", async ({ headers, status, code }) => {
    const response = await metrics(headers);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code } }] });
  });

  it("is not a page that a link of another site leads to", async () => {
    const navigation = { "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate" };
    // Node's fetch has a mode of its own.
    const get = async (path: string) => {
      const asked = request(`${app.url}${path}`, {
        headers: { ...bearer("prometheus"), ...navigation },
      }).end();
      const [response] = (await once(asked, "response")) as [IncomingMessage];
      response.resume();
      return response.statusCode;
    };
    expect([await get("/health"), await get("/metrics")]).toEqual([200, 403]);
  });

  it("is Prometheus's text for a token that may read, is not cached, and can only be read", async () => {
    const response = await metrics();
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(Number(response.headers.get("content-length"))).toBe((await response.arrayBuffer()).byteLength);
    expect(await (await metrics(bearer("prometheus"), "HEAD")).text()).toBe("");
    expect((await metrics(bearer("prometheus"), "POST")).status).toBe(405);
  });

  it("costs no points", async () => {
    const available = async () => {
      const { body } = await post(app.url, { query: "{ __typename }" }, bearer("prometheus"));
      return body.extensions?.cost?.throttleStatus.currentlyAvailable;
    };
    const before = await available();
    await metrics();
    expect(await available()).toBe(before);
  });

  it("counts what this server answers and refuses", async () => {
    await post(app.url, { query: 'mutation { forgetQueue(queue: "x") }' }, bearer("prometheus"));
    await until(async () => {
      const text = await (await metrics()).text();
      expect(text).toMatch(/^queue_latency_refused_requests_total\{code="FORBIDDEN"\} [1-9]/m);
      expect(text).toMatch(/^queue_latency_http_responses_total\{status="403"\} [1-9]/m);
      expect(text).toMatch(/^process_resident_memory_bytes [1-9]/m);
      expect(text).toMatch(/^queue_latency_redis_up 1$/m);
    });
  });

  it("has all series that the dashboard for Grafana asks for", async () => {
    const text = await (await metrics()).text();
    const exported = new Set([...text.matchAll(/^# TYPE (\w+)/gm)].map(([, name]) => name));
    const asked = dashboardExpressions("mail").flatMap((expression) => [
      ...expression.matchAll(/\bqueue_\w+/g),
    ]);
    expect(asked.length).toBeGreaterThan(20);
    const names = asked.map(([name]) => name.replace(/_bucket$/, ""));
    expect(names.filter((name) => !exported.has(name))).toEqual([]);
  });

  it("says of each job system whether it answers, also of one that never has", async () => {
    await using redis = await startRedis();
    await using other = await startApp({
      ...{ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() },
      ...{ SIDEKIQ_URL: redis.url, RQ_URL: "redis://127.0.0.1:1" },
    });
    const isUp = async (sidekiq: number) => {
      const text = await (await fetch(`${other.url}/metrics`)).text();
      expect(text).toContain(`queue_latency_source_up{source="sidekiq"} ${sidekiq}\n`);
      expect(text).toContain('queue_latency_source_up{source="rq"} 0\n');
    };
    await until(() => isUp(1));
    await redis.kill();
    await until(() => isUp(0));
  });

  it("says that Redis is away, and stays an answer", async () => {
    await using redis = await startRedis();
    await using other = await startApp({ REDIS_URL: redis.url });
    await ask(
      other.url,
      'mutation { recordEvents(events: [{ type: ENQUEUED, queue: "q_within_30s", jobId: "1" }]) { accepted } }',
    );
    const read = async () => (await fetch(`${other.url}/metrics`)).text();
    const text = await read();
    expect(text).toContain('queue_depth{queue="q_within_30s",source="events"} 1\n');
    expect(text).toContain('queue_objective_seconds{queue="q_within_30s",source="events"} 30\n');
    await redis.kill();
    await until(async () => {
      const text = await read();
      expect(text).toContain("queue_latency_redis_up 0\n");
      expect(text).not.toContain("queue_depth");
    });
  });
});

describe.skipIf(whyNoPrometheus !== null)(`a real Prometheus${title}`, () => {
  it("finds no fault, whatever queues are named", async () => {
    await record(
      oddNames.flatMap((queue) => [
        { type: "ENQUEUED", queue, jobId: "1", at: ago(7_200) },
        { type: "ENQUEUED", queue, jobId: "2" },
        { type: "DEQUEUED", queue, jobId: "1" },
      ]),
    );
    await until(async () => {
      const text = await (await metrics()).text();
      expect(text).toContain('queue_depth{queue="a\\"b",source="events"} 1\n');
      expect(await promtool(["check", "metrics"], text)).toEqual({ code: 0, output: "" });
    });
  });

  it("agrees with the rules that we give to begin with", async () => {
    expect(await promtool(["check", "rules", rules])).toMatchObject({ code: 0 });
    const tests = join(import.meta.dirname, "../support/prometheus-rules.test.yml");
    expect(await promtool(["test", "rules", tests])).toMatchObject({ code: 0 });
  });

  it("scrapes with a token, its rules see a queue that is late, and what is gone leaves", async () => {
    const { host } = new URL(app.url);
    await record([
      ...oddNames.map((queue) => ({ type: "ENQUEUED", queue, jobId: "late", at: ago(600) })),
      ...[1, 2].map((job) => ({ type: "ENQUEUED", queue: "done", jobId: `${job}`, at: ago(3_700 * job) })),
      ...[1, 2].map((job) => ({ type: "DEQUEUED", queue: "done", jobId: `${job}` })),
    ]);
    await using prometheus = await startPrometheus(`
global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [${JSON.stringify(rules)}]
scrape_configs:
  - job_name: queue-latency
    authorization: { credentials: prometheus }
    static_configs: [{ targets: [${JSON.stringify(host)}] }]
`);
    const { values } = prometheus;
    await until(async () => {
      const ages = await values("queue_oldest_job_age_seconds > 599");
      expect(ages.map(({ labels }) => labels.queue).sort()).toEqual([...oddNames].sort());
      expect(ages.every(({ labels, value }) => labels.source === "events" && value < 3_600)).toBe(true);
    });
    expect(await values("up")).toMatchObject([{ value: 1 }]);
    const waits = await values('queue_wait_seconds_bucket{queue="done",le=~"3600|10800|.Inf"}');
    const byBound = Object.fromEntries(waits.map(({ labels, value }) => [labels.le, value]));
    expect(byBound).toEqual({ 3600: 0, 10800: 2, "+Inf": 2 });
    expect(await values('queue_events_total{queue="done",type="dequeued"}')).toMatchObject([{ value: 2 }]);

    await until(async () => {
      const { groups } = await prometheus.api("rules?type=alert");
      const rule = groups[0].rules.find(({ name }: { name: string }) => name === "QueueTooLate");
      const late = rule.alerts.map(({ labels }: { labels: { queue: string } }) => labels.queue);
      expect(late.sort()).toEqual([...oddNames].sort());
      expect(rule).toMatchObject({ health: "ok", state: "pending" });
    });

    for (const expression of dashboardExpressions("done")) {
      const answer = await prometheus.api(`query?query=${encodeURIComponent(expression)}`);
      expect(answer, expression).toMatchObject({ resultType: "vector" });
    }

    const [gone = "", ...others] = oddNames;
    await post(
      app.url,
      { query: "mutation ($queue: String!) { forgetQueue(queue: $queue) }", variables: { queue: gone } },
      bearer("ops"),
    );
    await until(async () => {
      const left = await values("queue_oldest_job_age_seconds > 599");
      expect(left.map(({ labels }) => labels.queue).sort()).toEqual([...others].sort());
    });
  });
});
