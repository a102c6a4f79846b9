import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, readFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { Accuracy } from "../../src/core/snapshot.ts";
import { monotonicClock } from "../../src/runtime/clock.ts";
import { uniquePrefix } from "../support/redis.ts";
import { post, startApp } from "../support/server.ts";
import { bearer, type TestTokens, tokenFile } from "../support/tokens.ts";
import { openTracker, type TestTracker } from "../support/tracker.ts";
import { until } from "../support/until.ts";

const example = readFileSync(join(import.meta.dirname, "../../docs/keda.yaml"), "utf8");
const [, url = ""] = /^ +url: "(.*)"$/m.exec(example) ?? [];
const [, valueLocation = ""] = /^ +valueLocation: "(.*)"$/m.exec(example) ?? [];

const gjson = join(import.meta.dirname, "../../.cache/gjson/gjson");
const whyNot =
  process.env.CI === "true" || isThere(gjson) ? null : "run script/install-gjson, which needs Go";
const title = whyNot === null ? "KEDA's metrics-api scaler" : `KEDA's metrics-api scaler (${whyNot})`;

describe.skipIf(whyNot !== null)(title, () => {
  let tokens: TestTokens;
  let app: Awaited<ReturnType<typeof startApp>>;
  let beside: TestTracker;

  beforeAll(async () => {
    tokens = await tokenFile({ keda: "read", recorder: "record" });
    const prefix = uniquePrefix();
    const env = { REDIS_URL: inject("redisUrl"), KEY_PREFIX: prefix, API_TOKENS_FILE: tokens.path };
    app = await startApp(env);
    beside = await openTracker(inject("redisUrl"), { prefix });
  });
  afterAll(async () => {
    await beside?.[Symbol.asyncDispose]();
    await app?.stop();
    await tokens?.[Symbol.asyncDispose]();
  });

  /** As its example says, for another queue: the number that it gets, or why it gets none. */
  async function scalerGets(queue: string, token = "keda"): Promise<number | string> {
    const target = new URL(url.replace("mail", encodeURIComponent(queue)));
    const { status, body } = await getAsGo(`${app.url}${target.pathname}${target.search}`, token);
    return status === 200 ? await readAsKeda(body) : `status ${status}`;
  }

  async function observe(queue: string, accuracy: Accuracy, freshForMs: number): Promise<string> {
    const head = { headAgeMs: 7_000, uncertaintyMs: 0, readAtMs: monotonicClock.now(), accuracy };
    const source = `system-${queue}`;
    const observation = { queue, ...head, depth: 3, scheduled: 0, paused: false };
    await beside.tracker.observe({ source, freshForMs, queues: [observation] });
    return `${source}/${queue}`;
  }

  it("gets the latency of a queue in which a job waits, in seconds, and 0 of one in which none does", async () => {
    const at = new Date(Date.now() - 45_000).toISOString();
    const events = [
      { type: "ENQUEUED", queue: "mail", jobId: "1", at },
      { type: "ENQUEUED", queue: "empty", jobId: "1" },
      { type: "DEQUEUED", queue: "empty", jobId: "1" },
    ];
    const query = "mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }";
    await post(app.url, { query, variables: { events } }, bearer("recorder"));
    const latency = await scalerGets("mail");
    expect(latency).toBeGreaterThanOrEqual(44);
    expect(latency).toBeLessThan(120);
    expect(await scalerGets("empty")).toBe(0);
  });

  it("gets the latency that a job system reports", async () => {
    const name = await observe("fresh", "EXACT", 600_000);
    expect(await scalerGets(name)).toBeGreaterThanOrEqual(7);
  });

  it("gets no number of a queue that is stale, unknown or misspelt, and so falls back", async () => {
    const stale = await observe("stale", "EXACT", 1);
    await until(async () => expect(await scalerGets(stale)).toBe("got Null"));
    expect(await scalerGets(await observe("dark", "UNKNOWN", 600_000))).toBe("got Null");
    expect(await scalerGets("misspelt")).toBe("got Null");
  });

  it("gets no number, but an error, when it is not let in", async () => {
    expect(await scalerGets("mail", "guessed")).toBe("status 401");
    expect(await scalerGets("mail", "recorder")).toBe("status 403");
  });
});

/** With the headers that Go's http.Client sends, and no others: there is no Accept among them. */
async function getAsGo(address: string, token: string): Promise<{ status: number; body: string }> {
  const headers = { "User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip", ...bearer(token) };
  const [response] = await once(request(address, { headers }).end(), "response");
  let body = "";
  for await (const chunk of response) body += chunk;
  return { status: response.statusCode, body };
}

async function readAsKeda(body: string): Promise<number | string> {
  const child = spawn(gjson, [valueLocation], { stdio: ["pipe", "pipe", "inherit"] });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stdin.end(body);
  const [code] = (await once(child, "close")) as [number | null];
  return code === 0 ? Number(output) : output.trim();
}

function isThere(path: string): boolean {
  try {
    accessSync(path);
    return true;
  } catch {
    return false;
  }
}
