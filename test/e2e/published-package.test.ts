import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, globSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import packageLock from "../../package-lock.json" with { type: "json" };
import { installPackage, nodes } from "../support/installed-package.ts";
import { expectExactTotals } from "../support/recorder-program.ts";
import { uniquePrefix } from "../support/redis.ts";
import { ask } from "../support/server.ts";

/** An empty folder outside of the project, and what `npm pack` makes, installed in it. */
let directory: string;
let bin: string;

// Ten thousand files are packed, and unpacked: minutes on a disk that others use, too.
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "ql-package-"));
  bin = await installPackage(directory);
  await writeFile(join(directory, "objectives.yml"), "packed: 30s\n");
  const rule = "name: Late\n    queues: packed\n    latency_above: 30s\n";
  await writeFile(join(directory, "rules.yml"), `rules:\n  - ${rule}`);
}, 600_000);

afterAll(() => rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }));

interface Installed {
  readonly name: string;
  readonly version: string;
  readonly scripts?: Readonly<Record<string, string>>;
}

interface Ended {
  /** The exit code, or the signal. */
  readonly code: number | NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
}

interface Program extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves to the first group when standard output matches. */
  says(pattern: RegExp): Promise<string>;
}

function start(
  args: readonly string[],
  {
    env = {},
    node = nodes.at(-1)!.directory,
  }: { env?: Readonly<Record<string, string>>; node?: string } = {},
): Program {
  const path = [node, bin, ...(process.env.PATH ?? "").split(delimiter)].join(delimiter);
  const child = spawn("queue-latency", args, {
    cwd: directory,
    env: { PATH: path, HOME: directory, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = once(child, "close").then(([code, signal]) => ({ code: code ?? signal, stdout, stderr }));
  return {
    child,
    ended,
    says: (pattern) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const found = pattern.exec(stdout)?.[1];
          if (found !== undefined) resolve(found);
        };
        child.stdout.on("data", look);
        ended.then(() => reject(new Error(`it ended: ${stdout}${stderr}`)), reject);
      }),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

const ready = /Dashboard: (http:\/\/\S+)\/ /;

describe.each(nodes)("the installed package on $name", ({ directory: node }) => {
  test("prints its version, and every setting as a flag", async () => {
    expect(await start(["--version"], { node }).ended).toEqual({
      code: 0,
      stdout: `${packageJson.version}\n`,
      stderr: "",
    });
    const help = await start(["--help"], { node }).ended;
    expect(help).toMatchObject({ code: 0, stderr: "" });
    expect(help.stdout).toMatch(/^ {2}--redis-url URL +Redis 7/m);
    expect(help.stdout).toMatch(/^ {2}--port VALUE +port to listen on.*\[4000\]$/m);
  });

  test("serves the dashboard and the API, with files that threads parse, and ends at SIGTERM", async () => {
    const args = ["--port=0", "--redis-url", inject("redisUrl"), "--key-prefix", uniquePrefix()];
    await using server = start(
      [...args, "--objectives-file", "objectives.yml", "--alerts-file", "rules.yml"],
      {
        node,
      },
    );
    const url = await server.says(ready);
    if (process.platform === "linux")
      expect(await readFile(`/proc/${server.child.pid}/cmdline`, "utf8")).toContain(
        "--max-semi-space-size=16\0",
      );
    const page = await (await fetch(`${url}/`)).text();
    const asset = /src="\.\/(assets\/main-[^"]+)"/.exec(page)?.[1];
    expect((await fetch(`${url}/${asset}`)).status).toBe(200);
    expect(await (await fetch(`${url}/graphql`, { headers: { accept: "text/html" } })).text()).toContain(
      "GraphiQL",
    );

    await ask(
      url,
      `mutation { recordEvents(events: [{ type: ENQUEUED, queue: "packed", jobId: "1" }]) { accepted } }`,
    );
    const { body } = await ask(url, `{ queueLatency(queues: ["packed"]) { state depth objective } }`);
    expect(body.data).toEqual({ queueLatency: [{ state: "WAITING", depth: 1, objective: 30 }] });

    server.child.kill("SIGTERM");
    expect(await server.ended).toMatchObject({ code: 0 });
  });
});

test("is installed with the versions that the project is tested with, one graphql, and no install script", async () => {
  const packages = globSync("node_modules/**/package.json", { cwd: directory }).filter((file) =>
    /node_modules\/(@[^/]+\/)?[^/]+\/package\.json$/.test(file),
  );
  const installed = await Promise.all(
    packages.map(async (file) => JSON.parse(await readFile(join(directory, file), "utf8")) as Installed),
  );
  const locked = Object.entries(packageLock.packages as Readonly<Record<string, Partial<Installed>>>).map(
    ([path, { version }]) => `${path.split("node_modules/").at(-1)} ${version}`,
  );
  const named = installed.map(({ name, version }) => `${name} ${version}`);
  expect(named.length).toBeGreaterThan(50);
  expect(named.filter((each) => !locked.includes(each) && !each.startsWith("queue-latency "))).toEqual([]);
  expect(named.filter((each) => each.startsWith("graphql "))).toHaveLength(1);
  const isScript = (name: string) => ["preinstall", "install", "postinstall"].includes(name);
  expect(installed.filter(({ scripts = {} }) => Object.keys(scripts).some(isScript))).toEqual([]);
  expect(globSync("node_modules/**/binding.gyp", { cwd: directory })).toEqual([]);
});

test("has the code that runs and nothing else: no sources, no tests", () => {
  const installed = (path: string) => existsSync(join(directory, "node_modules/queue-latency", path));
  expect(
    [
      "lib/bin.js",
      "lib/main.js",
      "lib/tracker/lua/fold.lua",
      "dist/dashboard/index.html",
      "schema.graphql",
    ].map(installed),
  ).toEqual([true, true, true, true, true]);
  expect(["src", "test", "bench", "script", "lib/main.ts", "lib/dashboard"].map(installed)).toEqual([
    false,
    false,
    false,
    false,
    false,
    false,
  ]);
});

test("without a redis-server says how to get one, and that REDIS_URL names another", async () => {
  // Only Node.js is on the path.
  const only = join(directory, "only-node");
  const node = join(nodes.at(-1)!.directory, "node");
  await mkdir(only);
  await symlink(node, join(only, "node"));
  const child = spawn(node, [join(bin, "queue-latency"), "--port=0"], {
    cwd: directory,
    env: { PATH: only },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  expect(await once(child, "close")).toEqual([1, null]);
  expect(stderr).toMatch(/redis-server was not found.*apt-get install redis-server.*REDIS_URL.*--redis-url/);
});

test("the recorder of the package records each event once, while the server is killed twice", async () => {
  await copyFile(join(import.meta.dirname, "../../examples/recorder.mjs"), join(directory, "recorder.mjs"));
  await expectExactTotals(
    { command: [process.execPath, "recorder.mjs"], cwd: directory },
    { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() },
  );
});

describe("queue-latency check", () => {
  test("reports in a table what it found at everything that is configured", async () => {
    const redisUrl = inject("redisUrl");
    const namespace = uniquePrefix();
    const redis = new Redis(redisUrl);
    const job = JSON.stringify({ jid: "1", enqueued_at: Date.now() / 1_000 });
    await redis.sadd(`${namespace}:queues`, "mail");
    await redis.lpush(`${namespace}:queue:mail`, job);
    await redis.quit();
    await using receiver = await listeningServer();

    const { code, stdout, stderr } = await start(
      [
        "check",
        "--port",
        "0",
        "--redis",
        redisUrl,
        "--sidekiq",
        `${redisUrl}?namespace=${namespace}`,
        ...["--statsd", "udp://127.0.0.1"],
      ],
      { env: { ALERTS_FILE: "rules.yml", ALERTMANAGER_URL: receiver.url } },
    ).ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^queue-latency \S+ on Node 24\.\S+\n\nPART +STATUS +FOUND\n/);
    expect(stdout).toMatch(/^redis +ok +Redis \d+\.\S+ at 127\.0\.0\.1:\d+$/m);
    expect(stdout).toMatch(/^sidekiq +ok +1 queue: sidekiq\/mail$/m);
    expect(stdout).toMatch(/^alert rules +ok +.*rules\.yml$/m);
    expect(stdout).toMatch(/^alertmanager +ok +127\.0\.0\.1:\d+ can be reached; nothing was sent$/m);
    expect(stdout).toMatch(/^statsd +ok +127\.0\.0\.1:8125 /m);
    expect(stdout).toMatch(/\nNothing is wrong\.\n$/);
    expect(receiver.requests()).toBe(0);
  });

  test("says what is wrong with each, and ends with exit code 1", async () => {
    await using closed = await listeningServer();
    await closed[Symbol.asyncDispose]();
    const port = new URL(closed.url).port;
    await writeFile(join(directory, "broken.yml"), "rules: [");
    const { code, stdout } = await start([
      ...["check", "--port=0", "--redis-url", `redis://:secret-word@127.0.0.1:${port}`],
      ...["--sidekiq", `redis://:secret-word@127.0.0.1:${port}`, "--faktory", `tcp://127.0.0.1:${port}`],
      ...[
        "--bullmq",
        `redis://127.0.0.1:${port}`,
        "--postgres",
        `postgres://user@127.0.0.1:${port}/jobs?as=jobs`,
      ],
      ...["--alerts-file", "broken.yml", "--alertmanager-url", `${closed.url}/secret-word`],
    ]).ended;
    expect(code).toBe(1);
    for (const part of ["redis", "sidekiq", "faktory", "bullmq", "jobs", "alertmanager"])
      expect(stdout).toMatch(new RegExp(`^${part} +wrong .*(ECONNREFUSED|does not answer|refused)`, "m"));
    expect(stdout).toMatch(/^alert rules +wrong +.*broken\.yml/m);
    expect(stdout).toMatch(/\n7 of 8 are wrong\.\n$/);
    expect(stdout).not.toContain("secret-word");
  });
});

async function listeningServer(): Promise<AsyncDisposable & { readonly url: string; requests(): number }> {
  let requests = 0;
  const server = createServer((_, response) => {
    requests++;
    response.end();
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: () => requests,
    async [Symbol.asyncDispose]() {
      if (!server.listening) return;
      server.close();
      await once(server, "close");
    },
  };
}
