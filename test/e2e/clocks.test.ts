import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Webhook } from "standardwebhooks";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import { startAlertmanager, whyNoAlertmanager } from "../support/alertmanager.ts";
import { startReceiver } from "../support/http-receiver.ts";
import { uniquePrefix } from "../support/redis.ts";
import { ask, startServer, type TestServer } from "../support/server.ts";

const hoursMs = 3_600_000;
const secret = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
const preload = new URL("../support/shifted-clocks.ts", import.meta.url).href;

async function start(env: Readonly<Record<string, string>>): Promise<TestServer> {
  const server = await startServer({
    ...{ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix(), NODE_OPTIONS: `--import ${preload}` },
    ...env,
  });
  onTestFinished(() => server.kill());
  return server;
}

async function record({ url }: TestServer, type: "ENQUEUED" | "DEQUEUED", queue = "mail"): Promise<void> {
  const { body } = await ask(
    url,
    `mutation { recordEvents(events: [{ type: ${type}, queue: "${queue}", jobId: "1" }]) { accepted } }`,
  );
  expect(body.errors).toBeUndefined();
}

/** A webhook that refuses what its library does: a wrong signature, and a timestamp more than five minutes off. */
async function startVerifier() {
  const receiver = await startReceiver();
  const verified: string[] = [];
  receiver.answer = ({ body, headers }) => {
    try {
      new Webhook(secret).verify(body, headers as Record<string, string>);
    } catch {
      return 400;
    }
    verified.push(JSON.parse(body).type);
    return 200;
  };
  return { receiver, verified };
}

/** Rules in a file of the test's own, and receivers. */
async function withAlerts(rules: string) {
  const directory = await mkdtemp(join(tmpdir(), "ql-clocks-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  const file = join(directory, "alerts.yml");
  await writeFile(file, rules);
  const { receiver, verified } = await startVerifier();
  const alertmanager = await startAlertmanager();
  const env = {
    ...{ ALERTS_FILE: file, ALERTMANAGER_URL: alertmanager.url },
    ...{ ALERT_WEBHOOK_URL: receiver.url, ALERT_WEBHOOK_SECRET: secret },
  };
  return { alertmanager, verified, env };
}

describe.skipIf(whyNoAlertmanager !== null)(
  `a server whose clocks are wrong ${whyNoAlertmanager ?? ""}`,
  () => {
    test.each([
      { shift: { MONOTONIC_SHIFT_MS: `${-2 * hoursMs}` }, why: "the machine was suspended for two hours" },
      { shift: { WALL_SHIFT_MS: `${-2 * hoursMs}` }, why: "its wall clock is two hours behind Redis's" },
      { shift: { WALL_SHIFT_MS: `${2 * hoursMs}` }, why: "its wall clock is two hours ahead" },
    ])(
      "notifies receivers and answers a history: $why",
      async ({ shift }) => {
        const { alertmanager, verified, env } = await withAlerts(
          "rules: [{ name: Waits, queues: mail, depth_above: 0 }]",
        );
        const server = await start({ ...env, ...shift });
        await record(server, "ENQUEUED");
        await expect.poll(() => verified).toEqual(["alert.firing"]);
        await expect.poll(alertmanager.notified).toEqual(["firing Waits mail"]);
        const [alert] = await alertmanager.alerts();
        expect(Date.parse(alert!.endsAt)).toBeGreaterThan(Date.now());
        expect(Math.abs(Date.parse(alert!.startsAt) - Date.now())).toBeLessThan(60_000);

        const fiveMinutesAgo = new Date(Date.now() - 300_000).toISOString();
        const query = `{ queueLatency(queues: ["mail"]) { measuredAt history(from: "${fiveMinutesAgo}") { at } } }`;
        const { body } = await ask(server.url, query);
        expect(body.errors).toBeUndefined();
        const [{ measuredAt, history }] = body.data.queueLatency;
        expect(Math.abs(Date.parse(measuredAt) - Date.now())).toBeLessThan(60_000);
        expect(history).toBeInstanceOf(Array);

        await record(server, "DEQUEUED");
        await expect.poll(() => verified).toEqual(["alert.firing", "alert.resolved"]);
        await expect.poll(alertmanager.notified).toEqual(["firing Waits mail", "resolved Waits mail"]);
      },
      60_000,
    );

    test("keeps its lease, its intervals and its limits while its wall clock is set back and forth", async () => {
      const { alertmanager, verified, env } = await withAlerts(
        "rules: [{ name: Waits, queues: 'mail*', depth_above: 0, for: 2s }]",
      );
      const server = await start({ ...env, WALL_STEP_MS: `${-3 * hoursMs}`, RATE_LIMIT_MAX: "1000" });
      const step = async () => {
        const said = () => server.stderr().split("wall clock shifted").length;
        const before = said();
        process.kill(server.pid, "SIGUSR2");
        await expect.poll(said).toBe(before + 1);
      };
      const names: string[] = [];
      for (let n = 0; n < 3; n++) {
        await record(server, "ENQUEUED", `mail-${n}`);
        await step();
        names.push(`firing Waits mail-${n}`);
        await expect.poll(() => alertmanager.notified().toSorted()).toEqual(names.toSorted());
        await expect.poll(() => verified.length).toBe(n + 1);
      }
      const { body } = await ask(server.url, "{ alerts { queue since firedAt } }");
      for (const { since, firedAt } of body.data.alerts) {
        const tookMs = Date.parse(firedAt) - Date.parse(since);
        expect(tookMs).toBeGreaterThanOrEqual(2_000);
        expect(tookMs).toBeLessThan(hoursMs);
      }
      expect(server.stderr()).not.toContain("lost lease");
      expect(server.stderr()).not.toContain("a lease was lost");
      const log = server.stdout() + server.stderr();
      expect(log.split("this process evaluates alert rules")).toHaveLength(2);
    });
  },
);
