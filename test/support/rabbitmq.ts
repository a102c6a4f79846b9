import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isExecutable } from "./programs.ts";
import { freePort } from "./redis.ts";

/** A real RabbitMQ with its management plugin, on free ports of 127.0.0.1; no other process knows them. */
export interface TestRabbitmq extends AsyncDisposable {
  /** For clients. */
  readonly amqpUrl: string;
  /** The management API, with a user that may only read. */
  readonly url: string;
  /** Of the group of its processes. */
  readonly pid: number;
  /** Asks the management API as its administrator. */
  manage(method: string, path: string, body?: object): Promise<void>;
  /** How many messages the management API has counted so far: its counters come later than the queue's length. */
  counted(queue: string): Promise<{ readonly published: number; readonly delivered: number }>;
}

const program = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/** Why tests with RabbitMQ are to be skipped; null when they can run, and in CI, where they must. */
export const whyNoRabbitmq: string | null =
  process.env.CI === "true" || isExecutable(program)
    ? null
    : "it is not installed: on Debian, apt-get install rabbitmq-server";

const startTimeoutMs = 120_000;

/**
 * @param more lines of its configuration.
 * @param statisticsMs how often its queues report what the management API says; RabbitMQ's own default is 5_000. */
export async function startRabbitmq(
  statisticsMs: number,
  more: readonly string[] = [],
): Promise<TestRabbitmq> {
  const dir = await mkdtemp(join(tmpdir(), "ql-rabbitmq-"));
  const [port, managementPort, distPort, epmdPort] = await Promise.all([
    freePort(),
    freePort(),
    freePort(),
    freePort(),
  ]);
  const config = join(dir, "rabbitmq.conf");
  const plugins = join(dir, "enabled_plugins");
  await mkdir(join(dir, "home"));
  await writeFile(plugins, "[rabbitmq_management].\n");
  await writeFile(
    config,
    [
      `listeners.tcp.1 = 127.0.0.1:${port}`,
      "management.tcp.ip = 127.0.0.1",
      `management.tcp.port = ${managementPort}`,
      `collect_statistics_interval = ${statisticsMs}`,
      // As seldom as it samples, so seldom its answers change.
      ...["global", "basic", "detailed"].map(
        (policy) => `management.sample_retention_policies.${policy}.minute = 1`,
      ),
      "default_user = admin",
      "default_pass = admin",
      ...more,
    ].join("\n"),
  );
  // Else Erlang starts one as a daemon, which would outlive it.
  const epmd = spawn("epmd", ["-port", String(epmdPort), "-address", "127.0.0.1"], { stdio: "ignore" });
  const child = spawn(program, [], {
    stdio: "ignore",
    // Its Erlang runtime is a child of a shell: they end together.
    detached: true,
    env: {
      PATH: process.env.PATH,
      HOME: join(dir, "home"),
      RABBITMQ_NODENAME: `ql-${port}@localhost`,
      RABBITMQ_CONFIG_FILE: config,
      RABBITMQ_ENABLED_PLUGINS_FILE: plugins,
      RABBITMQ_MNESIA_BASE: join(dir, "data"),
      RABBITMQ_LOG_BASE: join(dir, "log"),
      RABBITMQ_DIST_PORT: String(distPort),
      ERL_EPMD_PORT: String(epmdPort),
      ERL_EPMD_ADDRESS: "127.0.0.1",
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
        "+S 1:1 -kernel inet_dist_use_interface {127,0,0,1} -rabbit quorum_tick_interval 1000",
    },
  });
  const kill = () => {
    killGroup(child);
    epmd.kill("SIGKILL");
  };
  process.on("exit", kill);

  async function ask(method: string, path: string, body?: object): Promise<string> {
    const response = await fetch(`http://127.0.0.1:${managementPort}/api/${path}`, {
      method,
      headers: { authorization: `Basic ${btoa("admin:admin")}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    return text;
  }

  async function manage(method: string, path: string, body?: object): Promise<void> {
    await ask(method, path, body);
  }

  async function counted(queue: string): Promise<{ readonly published: number; readonly delivered: number }> {
    const { message_stats: stats = {} } = JSON.parse(
      await ask("GET", `queues/%2F/${encodeURIComponent(queue)}`),
    );
    return { published: stats.publish ?? 0, delivered: stats.deliver_get ?? 0 };
  }

  async function stop(): Promise<void> {
    process.off("exit", kill);
    const running = [child, epmd].filter(
      ({ exitCode, signalCode }) => exitCode === null && signalCode === null,
    );
    const exits = running.map((process) => once(process, "exit"));
    kill();
    await Promise.all(exits);
    await rm(dir, { recursive: true, force: true, maxRetries: 10 });
  }

  async function isAnswering(): Promise<boolean> {
    return await manage("GET", "overview").then(
      () => true,
      () => false,
    );
  }

  try {
    // Without vitest, whose polls a bench cannot use.
    const deadline = performance.now() + startTimeoutMs;
    while (!(await isAnswering())) {
      if (performance.now() > deadline)
        throw new Error(`RabbitMQ did not answer within ${startTimeoutMs} ms`);
      await sleep(200);
    }
    // Any character may be in a password.
    await manage("PUT", "users/watcher", { password: "p@ss:w/o?r#d%", tags: "monitoring" });
    await manage("PUT", "permissions/%2F/watcher", { configure: "^$", write: "^$", read: "^$" });
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    amqpUrl: `amqp://admin:admin@127.0.0.1:${port}`,
    url: `http://watcher:${encodeURIComponent("p@ss:w/o?r#d%")}@127.0.0.1:${managementPort}`,
    pid: child.pid ?? 0,
    manage,
    counted,
    [Symbol.asyncDispose]: stop,
  };
}

/** Nothing of what it would save outlives its directory. */
function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}
