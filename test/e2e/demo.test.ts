import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { redisPids, temporaryDataDir } from "../support/embedded-redis.ts";
import { ask } from "../support/server.ts";
import { hangsAfterMs } from "../support/until.ts";

const queues = ["demo/bursty", "demo/falling-behind", "demo/scheduled", "demo/steady"];

test("shows four queues that live within seconds, and ends on Ctrl-C with all it has started", async () => {
  const dataDir = await temporaryDataDir();
  const demo = await startDemo({ DATA_DIR: dataDir });
  for (const queue of queues) expect(demo.stdout()).toContain(queue);
  expect(await redisPids(dataDir)).toHaveLength(1);

  expect(demo.stdout()).toMatch(new RegExp(`^Dashboard: ${demo.url}/\n`));
  expect(await (await fetch(demo.url)).text()).toContain("/assets/main-");

  const rows = await look(demo.url);
  expect(rows.map(({ queue }) => queue)).toEqual(queues);
  for (const row of rows) {
    expect(row.waitTime.count, row.queue).toBeGreaterThan(0);
    expect(row.throughput.enqueuedPerSecond, row.queue).toBeGreaterThan(0);
    expect(row.throughput.dequeuedPerSecond, row.queue).toBeGreaterThan(0);
  }
  expect(rows.find(({ queue }) => queue === "demo/scheduled")?.scheduled).toBeGreaterThan(0);
  const behind = rows.find(({ queue }) => queue === "demo/falling-behind")!.latency;
  expect(behind).toBeGreaterThan(10);
  await expect.poll(() => latencyOf(demo.url, "demo/falling-behind")).toBeGreaterThan(behind + 2);
  // Below a second by the model; what a busy machine adds is that events are recorded late.
  await expect.poll(() => latencyOf(demo.url, "demo/steady")).toBeLessThan(3);

  // By its objective it is late at once, and the alert of that has to last for ten seconds.
  expect(rows.find(({ queue }) => queue === "demo/falling-behind")?.health).toBe("SLOW");
  await expect.poll(demo.stdout).toContain("Alert: DemoIsLate of demo/falling-behind fires.");

  // A client of the same address has nearly all of the points.
  const { maximumAvailable, currentlyAvailable } = (await ask(demo.url, "{ __typename }")).body.extensions!
    .cost!.throttleStatus;
  expect(currentlyAvailable).toBeGreaterThan(0.9 * maximumAvailable);

  expect(await demo.end("SIGINT")).toBe(0);
  expect(await redisPids(dataDir)).toEqual([]);
  await expect(fetch(demo.url)).rejects.toThrow();
  expect(demo.stderr()).toBe("");
});

test("begins anew on the data of the last run, whose jobs are not taken any more", async () => {
  const dataDir = await temporaryDataDir();
  const first = await startDemo({ DATA_DIR: dataDir });
  const at = new Date(Date.now() - 3_600_000).toISOString();
  const ghost = `{ type: ENQUEUED, queue: "demo/steady", jobId: "ghost", at: "${at}" }`;
  await ask(first.url, `mutation { recordEvents(events: [${ghost}]) { accepted } }`);
  expect(await latencyOf(first.url, "demo/steady")).toBeGreaterThan(3_000);
  expect(await first.end("SIGTERM")).toBe(0);

  const second = await startDemo({ DATA_DIR: dataDir });
  expect(await latencyOf(second.url, "demo/steady")).toBeLessThan(100);
});

test("sends again what the server could not take", async () => {
  const dataDir = await temporaryDataDir();
  const demo = await startDemo({ DATA_DIR: dataDir });
  const [redis] = await redisPids(dataDir);
  onTestFinished(() => {
    process.kill(redis!, "SIGCONT");
  });
  process.kill(redis!, "SIGSTOP");
  await expect.poll(demo.stdout).toContain("The server takes no events, they are sent again");
  process.kill(redis!, "SIGCONT");
  await expect.poll(demo.stdout).toContain("The server takes events again.");
  // Were a dequeue lost, its job would wait for ever; were it only late, it does not.
  await expect.poll(() => latencyOf(demo.url, "demo/steady")).toBeLessThan(2);
});

test("says what the server says when its port is taken, and ends with exit code 1", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => {
    taken.close();
  });
  await once(taken, "listening");
  const { port } = taken.address() as { port: number };
  const dataDir = await temporaryDataDir();

  const demo = spawnDemo({ DATA_DIR: dataDir, PORT: String(port) });
  expect(await demo.ended).toBe(1);
  expect(demo.stdout()).toBe("");
  expect(demo.stderr()).toMatch(new RegExp(`^Cannot listen on 127.0.0.1, port ${port}: it is taken.*\n$`));
  expect(await redisPids(dataDir)).toEqual([]);
});

test("ends with the server, when that ends by itself", async () => {
  const demo = await startDemo({ DATA_DIR: await temporaryDataDir() });
  const [server] = await childrenOf(demo.pid);
  process.kill(server!, "SIGKILL");
  expect(await demo.ended).toBe(128 + 9);
  expect(demo.stderr()).toContain("The server was ended by SIGKILL.");
});

interface Row {
  readonly queue: string;
  readonly latency: number;
  readonly scheduled: number;
  readonly health: string;
  readonly throughput: { readonly enqueuedPerSecond: number; readonly dequeuedPerSecond: number };
  readonly waitTime: { readonly count: number };
}

async function look(url: string): Promise<readonly Row[]> {
  const { body } = await ask(
    url,
    `{ queues(prefix: "demo/", first: 10) { edges { node {
      queue latency scheduled health throughput { enqueuedPerSecond dequeuedPerSecond } waitTime { count }
    } } } }`,
  );
  return body.data.queues.edges.map(({ node }: { node: Row }) => node);
}

async function latencyOf(url: string, queue: string): Promise<number> {
  const { body } = await ask(url, `{ queueLatency(queues: ["${queue}"]) { latency } }`);
  return body.data.queueLatency[0].latency;
}

interface Demo {
  readonly pid: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  /** Resolves with its exit code. */
  readonly ended: Promise<number | null>;
  /** @returns the exit code. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/** Resolves when it has said all that it says at the beginning. */
async function startDemo(env: Readonly<Record<string, string>>): Promise<Demo & { readonly url: string }> {
  const demo = spawnDemo({ PORT: "0", ...env });
  const deadline = performance.now() + hangsAfterMs;
  while (!demo.stdout().includes("Ctrl-C")) {
    const ended = await Promise.race([demo.ended.then(() => true), once(demo.child.stdout!, "data")]);
    if (ended === true || performance.now() > deadline) {
      throw new Error(`the demo did not start: ${demo.stdout()}${demo.stderr()}`);
    }
  }
  return { ...demo, url: /http:\/\/\S+(?=\/graphql)/.exec(demo.stdout())![0] };
}

function spawnDemo(env: Readonly<Record<string, string>>): Demo & { readonly child: ChildProcess } {
  const script = new URL("../../script/demo.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [script], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = once(child, "close").then(([code]) => code as number | null);
  // By SIGTERM: it takes its server with it.
  const end = () => child.kill("SIGTERM");
  // A test process that ends in the middle of a test must not leave a demo behind.
  process.on("exit", end);
  onTestFinished(async () => {
    end();
    await ended;
    process.off("exit", end);
  });
  return {
    child,
    pid: child.pid ?? -1,
    stdout: () => stdout,
    stderr: () => stderr,
    ended,
    end(signal) {
      child.kill(signal);
      return ended;
    },
  };
}

async function childrenOf(pid: number): Promise<readonly number[]> {
  const { stdout } = await promisify(execFile)("ps", ["-A", "-o", "pid=,ppid="]);
  const lines = stdout.split("\n").map((line) => line.trim().split(/\s+/).map(Number));
  return lines.filter(([, parent]) => parent === pid).map(([child]) => child!);
}
