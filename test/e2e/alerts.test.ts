import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Webhook } from "standardwebhooks";
import { beforeEach, describe, expect, inject, onTestFinished, test } from "vitest";
import { createClient } from "../../src/redis/connect.ts";
import { createKeys } from "../../src/redis/keys.ts";
import { startAlertmanager, whyNoAlertmanager } from "../support/alertmanager.ts";
import { onThisMachine } from "../support/busy-machine.ts";
import { startReceiver } from "../support/http-receiver.ts";
import { silentLogger } from "../support/logger.ts";
import { uniquePrefix } from "../support/redis.ts";
import { ask, post, runServer, startApp, startServer, type TestServer } from "../support/server.ts";
import { sse } from "../support/streams.ts";
import { bearer, tokenFile } from "../support/tokens.ts";

const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const decides = '"msg":"this process evaluates alert rules"';
let prefix: string;
let file: string;

beforeEach(async () => {
  prefix = uniquePrefix();
  const dir = await mkdtemp(join(tmpdir(), "ql-alerts-"));
  onTestFinished(() => rm(dir, { recursive: true }));
  file = join(dir, "alerts.yml");
});

const rule = (lines: string) => writeFile(file, `rules:\n  - name: Waits\n    queues: mail\n    ${lines}\n`);

/** A server process of the test's own keys, beside others of the same. */
async function start(env: Readonly<Record<string, string>> = {}): Promise<TestServer> {
  const server = await startServer({
    ...{ REDIS_URL: inject("redisUrl"), KEY_PREFIX: prefix, ALERTS_FILE: file, RATE_LIMIT_MAX: "1000000" },
    ...env,
  });
  onTestFinished(() => server.kill());
  return server;
}

async function record(
  { url }: TestServer,
  type: "ENQUEUED" | "DEQUEUED",
  queue = "mail",
  headers = {},
): Promise<void> {
  const query = `mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }`;
  const { body } = await post(url, { query, variables: { events: [{ type, queue, jobId: "1" }] } }, headers);
  expect(body.errors).toBeUndefined();
}

const selection =
  "id rule queue state since firedAt endedAt end value facts { depth oldestSince } acknowledgedAt";

async function alertsOf({ url }: TestServer, state = "null") {
  const { body } = await ask(url, `{ alerts(state: ${state}, first: 5) { ${selection} } }`);
  expect(body.errors).toBeUndefined();
  return body.data.alerts;
}

async function statusOf({ url }: TestServer) {
  const { body } = await ask(url, "{ alertStatus { outbox receivers { receiver delivered } } }");
  return body.data.alertStatus;
}

/** Of the servers, the one whose turn it is. */
async function decider(servers: readonly TestServer[]): Promise<TestServer> {
  const ofAll = () => servers.filter(({ stderr }) => stderr().includes(decides));
  await expect.poll(() => ofAll().length).toBe(1);
  return ofAll()[0]!;
}

describe.skipIf(whyNoAlertmanager !== null)(`a real Alertmanager ${whyNoAlertmanager ?? ""}`, () => {
  test("receives what fires, and that it has ended", async () => {
    await rule("depth_above: 0\n    severity: page\n    annotations: { summary: Mail waits. }");
    const alertmanager = await startAlertmanager();
    const server = await start({ ALERTMANAGER_URL: alertmanager.url });
    await record(server, "ENQUEUED");
    await expect.poll(alertmanager.notified).toEqual(["firing Waits mail"]);
    expect(await alertmanager.alerts()).toMatchObject([
      {
        labels: { alertname: "Waits", queue: "mail", severity: "page" },
        annotations: { summary: "Mail waits.", value: "1" },
      },
    ]);
    await record(server, "DEQUEUED");
    await expect.poll(alertmanager.notified).toEqual(["firing Waits mail", "resolved Waits mail"]);
    expect(await alertmanager.alerts()).toEqual([]);
  });
});

describe("a webhook", () => {
  async function startHook() {
    const receiver = await startReceiver();
    const env = { ALERT_WEBHOOK_URL: receiver.url, ALERT_WEBHOOK_SECRET: secret };
    const delivered = () =>
      receiver.received.map(({ body, headers }) => {
        // biome-ignore lint/suspicious/noExplicitAny: the test knows the shape of what it receives
        const { type, data } = new Webhook(secret).verify(body, headers as Record<string, string>) as any;
        return `${type} ${data.queue} ${headers["webhook-id"]}`;
      });
    return { receiver, env, delivered };
  }

  test("is notified once of what was pending when the leader was killed", async () => {
    await rule("latency_above: 0\n    for: 15s");
    const { env, delivered } = await startHook();
    const servers = await Promise.all([start(env), start(env), start(env)]);
    const first = await decider(servers);
    const others = servers.filter((server) => server !== first);
    await record(others[0]!, "ENQUEUED");
    await expect.poll(() => alertsOf(others[0]!)).toMatchObject([{ state: "PENDING" }]);
    const [pending] = await alertsOf(others[0]!);
    await first.kill();
    expect(delivered()).toEqual([]);
    await decider(others);
    await expect.poll(() => alertsOf(others[1]!)).toMatchObject([{ state: "FIRING" }]);
    const [firing] = await alertsOf(others[1]!);
    expect(firing).toMatchObject({ id: pending.id, since: pending.since, facts: { depth: 1 } });
    const lastedMs = Date.parse(firing.firedAt) - Date.parse(firing.since);
    expect(lastedMs).toBeGreaterThanOrEqual(15_000);
    // A lease is had by another within five seconds, and its first round is at once.
    expect(lastedMs).toBeLessThan(15_000 + onThisMachine(5_000));
    await record(others[0]!, "DEQUEUED");
    await expect
      .poll(delivered)
      .toEqual([`alert.firing mail ${pending.id}-firing`, `alert.resolved mail ${pending.id}-resolved`]);
  });

  test("gets nothing twice when the server is started again, and gets what it has missed", async () => {
    await rule("depth_above: 0");
    const { receiver, env, delivered } = await startHook();
    const first = await start(env);
    await record(first, "ENQUEUED");
    // What has come and is not acknowledged yet would come again.
    await expect.poll(async () => (await statusOf(first)).receivers).toMatchObject([{ delivered: 1 }]);
    expect(delivered()).toHaveLength(1);
    expect(await first.stop()).toBe(0);
    receiver.answer = () => 503;
    const second = await start(env);
    await record(second, "DEQUEUED");
    await expect.poll(() => delivered().length).toBeGreaterThan(1);
    expect(await second.stop()).toBe(0);
    receiver.answer = () => 200;
    const third = await start(env);
    await expect
      .poll(() => statusOf(third))
      .toEqual({ outbox: 0, receivers: [{ receiver: "webhook", delivered: 2 }] });
    const metrics = await (await fetch(`${third.url}/metrics`)).text();
    expect(metrics).toMatch(
      /^queue_latency_alert_deliveries_total\{receiver="webhook",result="delivered"\} 2$/m,
    );
    expect(metrics).toMatch(
      /^queue_latency_alert_deliveries_total\{receiver="webhook",result="failed"\} [1-9]/m,
    );
    expect(new Set(delivered()).size).toBe(2);
    expect(delivered().filter((each) => each.startsWith("alert.firing"))).toHaveLength(1);
    for (const { stderr } of [first, second, third]) expect(stderr()).not.toContain("whsec_");
  });
});

test("a rule about health fires by what health says, and keeps it among its facts", async () => {
  await writeFile(file, "rules: [{ name: Ill, queues: 'latency_*', health: SLOW }]");
  const server = await start();
  await record(server, "ENQUEUED", "latency_1s");
  const query = "{ alerts { rule queue state subject value facts { health { health } } } }";
  await expect
    .poll(async () => (await ask(server.url, query)).body.data.alerts)
    .toMatchObject([{ rule: "Ill", queue: "latency_1s", state: "FIRING", subject: "HEALTH", value: null }]);
  const { body } = await ask(server.url, query);
  expect(body.data.alerts[0].facts.health.at(-1)).toEqual({ health: "SLOW" });
  await record(server, "DEQUEUED", "latency_1s");
  await expect.poll(() => alertsOf(server, "RESOLVED")).toMatchObject([{ rule: "Ill", end: "RECOVERED" }]);
});

test("a heartbeat is asked for by the process that decides, and by no other", async () => {
  await rule("depth_above: 0");
  const receiver = await startReceiver();
  const servers = await Promise.all([start(), start({ ALERT_HEARTBEAT_URL: `${receiver.url}/a` })]);
  const first = await decider(servers);
  if (first === servers[0]) await first.stop();
  await expect.poll(() => receiver.received).toMatchObject([{ method: "GET", path: "/a" }]);
});

describe("the file of rules", () => {
  test("keeps the server from starting when it is wrong, and every mistake is reported with its line", async () => {
    await rule("depth_above: many\n    for: ever");
    const { code, stdout, stderr } = await runServer({
      ...{ REDIS_URL: inject("redisUrl"), KEY_PREFIX: prefix, ALERTS_FILE: file, PORT: "0" },
    });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(
      /^ALERTS_FILE: .*line 4: rules\[0\]\.depth_above: expected a number.*line 5: rules\[0\]\.for: expected/,
    );
  });

  test("is read again when it changes, and holds as it was while it is wrong", async () => {
    await rule("depth_above: 5");
    const server = await start();
    await record(server, "ENQUEUED");
    await rule("depth_above: 0");
    await expect.poll(() => alertsOf(server)).toMatchObject([{ state: "FIRING", value: 1 }]);
    await rule("depth_below: 0");
    await expect.poll(server.stderr).toContain("line 2: rules[0]: expected one condition");
    await record(server, "DEQUEUED");
    await expect.poll(() => alertsOf(server, "RESOLVED")).toMatchObject([{ end: "RECOVERED" }]);
    await record(server, "ENQUEUED", "mail");
    expect(server.stderr()).not.toContain("RULE_GONE");
  });
});

describe("over GraphQL", () => {
  test("a server without rules says so, unless another server has some, and skips garbage", async () => {
    const app = await startApp({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: prefix });
    onTestFinished(() => app[Symbol.asyncDispose]());
    const subscription = "subscription { alertChanged { id } }";
    const refused = sse(app.url, subscription);
    onTestFinished(() => refused.abort());
    expect((await refused.next()).value?.errors).toMatchObject([
      { message: expect.stringContaining("ALERTS_FILE"), extensions: { code: "NO_ALERT_RULES" } },
    ]);
    const { body } = await ask(app.url, "{ alerts { id } alertStatus { rules decidedAt } }");
    expect(body.data).toEqual({ alerts: [], alertStatus: { rules: 0, decidedAt: null } });

    const { active, state } = createKeys(prefix).alerts;
    const redis = createClient({ urls: [inject("redisUrl")], name: "test", logger: silentLogger });
    onTestFinished(() => redis.disconnect());
    await redis.connect();
    await Promise.all([redis.hset(active, "x", "garbage"), redis.set(state, "garbage")]);
    await expect
      .poll(async () => (await ask(app.url, "{ alerts { id } alertStatus { unreadable } }")).body.data)
      .toEqual({ alerts: [], alertStatus: { unreadable: 1 } });
    const metrics = await fetch(`${app.url}/metrics`);
    expect([metrics.status, await metrics.text()]).toEqual([
      200,
      expect.stringMatching(/^queue_latency_alerts_unreadable 1$/m),
    ]);

    await rule("depth_above: 0");
    const server = await start();
    expect((await ask(server.url, "{ alertStatus { rules } }")).body.data).toEqual({
      alertStatus: { rules: 3 },
    });
    await record(server, "ENQUEUED");
    await expect.poll(() => alertsOf(server)).toHaveLength(1);
    const stream = sse(app.url, subscription);
    onTestFinished(() => stream.abort());
    expect((await stream.next()).value?.data).toMatchObject({ alertChanged: { id: expect.any(String) } });
  });

  test("another process pushes every step and every acknowledgement, and ends its streams when it leaves", async () => {
    await rule("depth_above: 0\n    for: 3s");
    const servers = await Promise.all([start(), start()]);
    const first = await decider(servers);
    const other = servers.find((server) => server !== first)!;
    const stream = sse(other.url, `subscription { alertChanged(queue: "mail") { ${selection} } }`);
    onTestFinished(() => stream.abort());
    const next = async () => {
      const push = await stream.next();
      expect(push.value?.errors).toBeUndefined();
      return push.value?.data?.alertChanged;
    };
    await record(first, "ENQUEUED");
    expect(await next()).toMatchObject({ rule: "Waits", queue: "mail", state: "PENDING", facts: null });
    const firing = await next();
    expect(firing).toMatchObject({ state: "FIRING", value: 1, facts: { depth: 1 } });
    const acknowledge = `mutation { acknowledgeAlert(id: "${firing.id}") { id acknowledgedAt acknowledgedBy } }`;
    const { body } = await ask(first.url, acknowledge);
    expect(body.data.acknowledgeAlert).toEqual({
      id: firing.id,
      acknowledgedAt: expect.any(String),
      acknowledgedBy: null,
    });
    expect(await next()).toMatchObject({
      id: firing.id,
      state: "FIRING",
      acknowledgedAt: body.data.acknowledgeAlert.acknowledgedAt,
    });
    await record(first, "DEQUEUED");
    expect(await next()).toMatchObject({ id: firing.id, state: "RESOLVED", end: "RECOVERED", value: 0 });
    expect(await alertsOf(other, "RESOLVED")).toMatchObject([{ id: firing.id }]);
    expect((await ask(first.url, acknowledge)).body.data).toEqual({ acknowledgeAlert: null });
    expect(await other.stop()).toBe(0);
    await expect(stream.next()).rejects.toThrow("ended with no complete");
  });

  test("an alert that ended before it fired is pushed as ended, and is in no list", async () => {
    await rule("depth_above: 0\n    for: 1h");
    const server = await start();
    await record(server, "ENQUEUED");
    await expect.poll(() => alertsOf(server)).toHaveLength(1);
    const stream = sse(server.url, `subscription { alertChanged { ${selection} } }`);
    onTestFinished(() => stream.abort());
    expect((await stream.next()).value?.data).toMatchObject({ alertChanged: { state: "PENDING" } });
    await record(server, "DEQUEUED");
    expect((await stream.next()).value?.data).toMatchObject({
      alertChanged: { state: "RESOLVED", firedAt: null },
    });
    await expect.poll(() => alertsOf(server)).toEqual([]);
    expect(await alertsOf(server, "RESOLVED")).toEqual([]);
  });

  test("only an admin acknowledges, and is named; arguments are checked, and have their price", async () => {
    await rule("depth_above: 0");
    const tokens = await tokenFile({ eyes: "read", ops: "read,record,admin" });
    onTestFinished(() => tokens[Symbol.asyncDispose]());
    const server = await start({ API_TOKENS_FILE: tokens.path, MAX_SUBSCRIPTIONS: "1" });
    const as = async (name: string, query: string) => (await post(server.url, { query }, bearer(name))).body;
    await record(server, "ENQUEUED", "mail", bearer("ops"));
    await expect.poll(async () => (await as("eyes", "{ alerts { id } }")).data.alerts).toHaveLength(1);
    // An alert is stored before the end of the round that decided it.
    const decidedAt = async () =>
      (await as("eyes", "{ alertStatus { decidedAt } }")).data.alertStatus.decidedAt;
    await expect.poll(decidedAt).not.toBeNull();
    const asked = await as("eyes", "{ alerts(first: 7) { id } alertStatus { firing decidedAt } }");
    expect(asked.extensions?.cost?.requestedQueryCost).toBe(2);
    expect(asked.data.alertStatus).toEqual({ firing: 1, decidedAt: expect.any(String) });
    const acknowledge = `mutation { acknowledgeAlert(id: "${asked.data.alerts[0].id}") { acknowledgedBy } }`;
    expect((await as("eyes", acknowledge)).errors?.[0]?.extensions.code).toBe("FORBIDDEN");
    expect((await as("ops", acknowledge)).data).toEqual({ acknowledgeAlert: { acknowledgedBy: "ops" } });
    for (const wrong of [
      "{ alerts(first: 1001) { id } }",
      '{ alerts(queue: "*") { id } }',
      'mutation { acknowledgeAlert(id: "no id") { id } }',
    ]) {
      expect((await as("ops", wrong)).errors?.[0]?.extensions.code, wrong).toBe("BAD_USER_INPUT");
    }
    const subscription = "subscription { alertChanged { id } }";
    const stream = sse(server.url, subscription, {}, bearer("eyes"));
    onTestFinished(() => stream.abort());
    await stream.next();
    const second = sse(server.url, subscription, {}, bearer("eyes"));
    onTestFinished(() => second.abort());
    expect((await second.next()).value?.errors?.[0]?.extensions.code).toBe("TOO_MANY_SUBSCRIPTIONS");
  });
});
