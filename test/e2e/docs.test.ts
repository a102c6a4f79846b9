import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parse } from "graphql";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from "vitest";
import { parse as parseYaml } from "yaml";
import type { ObservedSource } from "../../src/core/observation.ts";
import type { Service } from "../../src/runtime/service.ts";
import { parseObjectives } from "../../src/settings/objectives.ts";
import { parseAlertRules } from "../../src/settings/parse-alert-rules.ts";
import { parsePostgresQueries } from "../../src/settings/parse-postgres-queries.ts";
import { startAlertmanager, whyNoAlertmanager } from "../support/alertmanager.ts";
import { silentLogger } from "../support/logger.ts";
import { type Block, blocks, project } from "../support/pages.ts";
import { programPath, promtool, whyNoPrometheus } from "../support/prometheus.ts";
import { startRedis, uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";
import { until } from "../support/until.ts";

/** Everything that README.md and the pages of docs show is run; unit/docs says which blocks are not, and why. */
const shown = blocks.filter(({ notRun }) => notRun === null);
const ofLanguage = (language: string) => shown.filter((block) => block.language === language);

let directory: string;
let url: string;
let app: AsyncDisposable;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "ql-docs-"));
  await symlink(join(project, "node_modules"), join(directory, "node_modules"));
  await writeFile(join(directory, "alerts.yml"), textOf("yaml", "rules:"));
  await writeFile(join(directory, "objectives.yml"), textOf("yaml", "# OBJECTIVES_FILE"));
  await writeFile(join(directory, "tokens"), `docs read ${"0".repeat(64)}\n`);
  const started = await startApp({
    REDIS_URL: inject("redisUrl"),
    KEY_PREFIX: uniquePrefix(),
    ALERTS_FILE: join(directory, "alerts.yml"),
    OBJECTIVES_FILE: join(directory, "objectives.yml"),
  });
  app = started;
  url = started.url;
  await ask(
    url,
    `mutation { recordEvents(events: [{ type: ENQUEUED, queue: "mail", jobId: "1" }]) { accepted } }`,
  );
});
afterAll(async () => {
  await app?.[Symbol.asyncDispose]();
  await rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
});

function textOf(language: string, start: string): string {
  const found = ofLanguage(language).find(({ text }) => text.startsWith(start));
  if (found === undefined) throw new Error(`no page has a block of ${language} that begins with ${start}`);
  return found.text;
}

describe("GraphQL", () => {
  test.each(ofLanguage("graphql"))("of $at is answered without an error", async (block) => {
    const [definition] = parse(block.text).definitions;
    const isSubscription =
      definition?.kind === "OperationDefinition" && definition.operation === "subscription";
    const variables = variablesBehind(block);
    if (isSubscription) {
      const event = await firstEvent(block.text);
      expect(event).toHaveProperty("data");
      expect(event).not.toHaveProperty("errors");
      return;
    }
    const { status, body } = await ask(url, block.text, variables);
    expect(body.errors).toBeUndefined();
    expect(status).toBe(200);
  });
});

/** A mutation with variables is followed by them. */
function variablesBehind(block: Block): object {
  if (!block.text.includes("$")) return {};
  const next = shown[shown.indexOf(block) + 1];
  expect(next).toMatchObject({ page: block.page, language: "json" });
  return JSON.parse(next?.text ?? "");
}

async function firstEvent(query: string): Promise<unknown> {
  const stopping = new AbortController();
  onTestFinished(() => stopping.abort());
  const headers = { "content-type": "application/json", accept: "text/event-stream" };
  const body = JSON.stringify({ query });
  const response = await fetch(`${url}/graphql`, { method: "POST", headers, body, signal: stopping.signal });
  let text = "";
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const data = /^data: ?(.+)\n/m.exec(text)?.[1];
    if (data !== undefined) return JSON.parse(data);
  }
  throw new Error(`the stream ended without an event: ${text}`);
}

describe("commands", () => {
  // script/server would install them in the middle of the run.
  beforeAll(async () => {
    const check = spawn("bash", ["-c", "source script/setup; packages_installed"], { cwd: project });
    const [code] = await once(check, "close");
    if (code !== 0) throw new Error("node_modules is not current: run npm ci first");
  });

  test.each(ofLanguage("sh"))("of $at do what they are for", async ({ text }) => {
    const run = runShell(forThisTest(text));
    if (text.includes("script/server")) await run.prints(/queue-latency is ready/);
    else if (text.includes("curl -sN")) await run.prints(/^data: .*"data"/m);
    else expect(await run.ended, run.output()).toBe(0);
  });
});

/** What a page names and a test has not: other hosts, fixed ports, files in the directory of the reader. */
function forThisTest(commands: string): string {
  return commands
    .replaceAll("127.0.0.1:4000", new URL(url).host)
    .replace(/REDIS_URL=redis:\/\/:password@redis\.example\.com:6379\/0/, `REDIS_URL=${inject("redisUrl")}`)
    .replace(/[\w-]+\.example\.com|alertmanager/g, (host) =>
      host.startsWith("dashboard") ? host : "127.0.0.1",
    )
    .replace(/PORT=\d+/, "PORT=0")
    .replace(/=(tokens|alerts\.yml)\b/g, (_, file) => `=${join(directory, file)}`);
}

interface ShellRun {
  readonly ended: Promise<number | null>;
  readonly output: () => string;
  /** Resolves when the pattern is in the output. @throws Error when the commands end without it. */
  prints(pattern: RegExp): Promise<void>;
}

function runShell(commands: string): ShellRun {
  const child: ChildProcess = spawn("bash", ["-euo", "pipefail", "-c", commands], {
    cwd: project,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: process.env.PATH,
      HOME: process.env.HOME,
      PORT: "0",
      REDIS_URL: inject("redisUrl"),
      KEY_PREFIX: uniquePrefix(),
      DATA_DIR: join(directory, "data"),
    },
  });
  let output = "";
  child.stdout?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr?.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const ended = once(child, "close").then(([code]) => code as number | null);
  onTestFinished(async () => {
    // The commands are the leader of a process group of their own.
    try {
      if (child.exitCode === null && child.signalCode === null) process.kill(-(child.pid ?? 0), "SIGTERM");
    } catch {
      // It has ended meanwhile.
    }
    await ended;
  });
  return {
    ended,
    output: () => output,
    async prints(pattern) {
      while (!pattern.test(output)) {
        const isOver = await Promise.race([
          ended.then(() => true),
          once(child.stdout!, "data").then(() => false),
        ]);
        if (isOver && !pattern.test(output)) throw new Error(`ended without ${pattern}: ${output}`);
      }
    },
  };
}

test.each(ofLanguage("conf"))("settings of $at are taken by Redis", async ({ text }) => {
  const settings = text
    .trim()
    .split("\n")
    .map((line) => line.split(" "));
  await using server = await startRedis({
    args: settings.flatMap(([name, value]) => [`--${name}`, value ?? ""]),
  });
  const redis = new Redis(server.url);
  onTestFinished(() => redis.disconnect());
  for (const [name = "", value] of settings) expect(await redis.config("GET", name)).toEqual([name, value]);
});

describe("files", () => {
  test.each(ofLanguage("json"))("JSON of $at can be parsed", ({ text }) => {
    // A part of an answer is shown without the braces around it.
    expect(() => JSON.parse(text.startsWith('"') ? `{${text}}` : text)).not.toThrow();
  });

  test.each(
    ofLanguage("yaml").filter(({ text }) => !/^(scrape_configs|route|# kustomization.yaml)/.test(text)),
  )("YAML of $at is taken by the server", ({ text }) => {
    const parse = text.startsWith("rules:")
      ? parseAlertRules
      : text.includes("SELECT")
        ? parsePostgresQueries
        : parseObjectives;
    expect(parse(text)).not.toEqual([]);
  });
});

describe.skipIf(whyNoPrometheus !== null)(`Prometheus (${whyNoPrometheus ?? "promtool"})`, () => {
  test("takes the configuration of docs/metrics.md", async () => {
    expect(programPath("promtool")).not.toBeNull();
    const file = join(directory, "prometheus.yml");
    await writeFile(file, textOf("yaml", "scrape_configs"));
    expect(await promtool(["check", "config", "--syntax-only", file])).toMatchObject({ code: 0 });
  });

  test.each(ofLanguage("promql"))("takes every expression of $at", async ({ text }) => {
    const expressions = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
    const rules = expressions.map((expr, index) => ({ record: `panel:${index}`, expr }));
    const file = join(directory, "panels.yml");
    await writeFile(file, JSON.stringify({ groups: [{ name: "panels", rules }] }));
    expect(await promtool(["check", "rules", file])).toMatchObject({ code: 0 });
  });
});

test.skipIf(whyNoAlertmanager !== null)(
  `a real Alertmanager takes the receivers of docs/alerts.md (${whyNoAlertmanager ?? "Slack and PagerDuty"})`,
  async () => {
    const { route, receivers, ...rest } = parseYaml(textOf("yaml", "route:"));
    const [slack, pagerDuty] = receivers;
    const alertmanager = await startAlertmanager((url) => {
      const { api_url_file: _, ...room } = slack.slack_configs[0];
      const { routing_key_file: __, ...pager } = pagerDuty.pagerduty_configs[0];
      return {
        ...rest,
        route: { ...route, group_wait: "0s" },
        receivers: [
          { ...slack, slack_configs: [{ ...room, api_url: `${url}/slack` }] },
          { ...pagerDuty, pagerduty_configs: [{ ...pager, url: `${url}/pagerduty`, routing_key: "k" }] },
        ],
      };
    });
    const alert = (queue: string, severity: string) => ({
      labels: { alertname: "MailIsLate", queue, severity },
      annotations: { summary: `Customers wait for ${queue}.` },
    });
    await fetch(`${alertmanager.url}/api/v2/alerts`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify([alert("mail", "critical"), alert("news", "ticket")]),
    });
    await until(() => expect(alertmanager.received.length).toBeGreaterThanOrEqual(3));
    const sent = alertmanager.received.map(({ path, body }) => ({ path, body: JSON.parse(body) }));
    const bodiesAt = (at: string) => sent.filter(({ path }) => path === at).map(({ body }) => body);
    expect(bodiesAt("/pagerduty")).toMatchObject([
      { event_action: "trigger", payload: { summary: "MailIsLate mail" } },
    ]);
    const messages = bodiesAt("/slack").map(({ channel, attachments: [{ title, text }] }) => ({
      ...{ channel, title, text: text.trim() },
    }));
    expect(messages.toSorted((a, b) => a.title.localeCompare(b.title))).toEqual([
      { channel: "#queues", title: "FIRING: MailIsLate mail", text: "Customers wait for mail." },
      { channel: "#queues", title: "FIRING: MailIsLate news", text: "Customers wait for news." },
    ]);
  },
);

describe("JavaScript", () => {
  const files = [...new Set(ofLanguage("js").map(({ page }) => page))];
  test.each(files)("of %s runs", async (page) => {
    const texts = ofLanguage("js").filter((block) => block.page === page);
    const file = join(directory, `${page.replaceAll("/", "-")}.mjs`);
    await writeFile(file, forThisTest(texts.map(({ text }) => text).join("\n")));
    await expect(import(/* @vite-ignore */ pathToFileURL(file).href)).resolves.toBeDefined();
  });
});

test("the source of docs/adding-a-source.md reports what it has read", async () => {
  const file = join(directory, "example.ts");
  const code = textOf("ts", "// src/sources/example.ts");
  const absolute = code.replaceAll('"../', `"${join(project, "src")}/`);
  await writeFile(file, absolute.replaceAll('"./', `"${join(project, "src/sources")}/`));
  const { createExampleSource } = await import(/* @vite-ignore */ file);
  const system = createServer((_, response) =>
    response.end(
      '[{ "name": "mail", "size": 3, "oldestAgeSeconds": 12.5 }, { "name": "idle", "size": 0, "oldestAgeSeconds": 0 }]',
    ),
  );
  system.listen(0, "127.0.0.1");
  await once(system, "listening");
  const observed = Promise.withResolvers<ObservedSource>();
  const source: Service = createExampleSource({
    url: `http://127.0.0.1:${(system.address() as AddressInfo).port}`,
    source: "example",
    intervalMs: 1_000,
    sink: { observe: async (seen: ObservedSource) => observed.resolve(seen) },
    logger: silentLogger,
  });
  onTestFinished(async () => {
    await source.stop();
    system.closeAllConnections();
    system.close();
  });
  await source.start();
  expect(await observed.promise).toMatchObject({
    source: "example",
    queues: [
      { queue: "mail", headAgeMs: 12_500, depth: 3, accuracy: "EXACT" },
      { queue: "idle", headAgeMs: null, depth: 0 },
    ],
  });
});
