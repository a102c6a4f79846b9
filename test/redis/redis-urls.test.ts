import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { type AddressInfo, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls, createServer as createTlsServer } from "node:tls";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { StartError } from "../../src/core/errors.ts";
import { createConnections, type RedisConnections } from "../../src/redis/connections.ts";
import { redisOptions } from "../../src/settings/redis-url.ts";
import { createBullmqReader } from "../../src/sources/bullmq-reader.ts";
import { createFaktoryClient } from "../../src/sources/faktory-client.ts";
import { createPolledRedis } from "../../src/sources/polled-redis.ts";
import { createSidekiqReader } from "../../src/sources/sidekiq-reader.ts";
import { createWatchedRedis } from "../../src/sources/watched-redis.ts";
import { onThisMachine } from "../support/busy-machine.ts";
import { silentLogger } from "../support/logger.ts";
import { freePort, startRedis, type TestRedis } from "../support/redis.ts";
import { launchSentinel, startSentinel } from "../support/sentinel.ts";
import { hangsAfterMs, until } from "../support/until.ts";

const password = "p@ss:w/o?r#d%,é [x]";
const encoded = encodeURIComponent(password);

/** Connections that end with the test. */
async function connected(url: string): Promise<RedisConnections> {
  const connections = createConnections({ urls: [url], logger: silentLogger });
  onTestFinished(() => connections.stop());
  await connections.start();
  return connections;
}

/** What the sources read there: the Sidekiq queue `mail`, and the keys that BullMQ has. */
async function sourcesRead(url: string): Promise<void> {
  const sidekiq = createSidekiqReader(url, "test");
  onTestFinished(() => sidekiq.close());
  const { names } = await sidekiq.use(AbortSignal.timeout(hangsAfterMs), (session) => session.names(10));
  expect(names).toEqual(["mail"]);
  const bullmq = createBullmqReader(url, "test");
  onTestFinished(() => bullmq.close());
  await until(async () => expect((await bullmq.scan("0")).queues).toEqual(["jobs"]));
}

async function fill(connections: RedisConnections): Promise<void> {
  await connections.commands.sadd("queues", "mail");
  await connections.commands.hset("bull:jobs:meta", "version", "bullmq:5.0.0");
}

describe("a Redis that speaks TLS with a certificate of its own", () => {
  let dir: string;
  let redis: TestRedis;
  let port: number;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "ql-tls-"));
    const [key, cert] = [join(dir, "key.pem"), join(dir, "cert.pem")];
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"];
    const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
    execFileSync("openssl", ["req", "-x509", ...kind, ...subject, "-keyout", key, "-out", cert], {
      stdio: "ignore",
    });
    port = await freePort();
    const tls = ["--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert];
    redis = await startRedis({ args: ["--tls-port", `${port}`, ...tls, "--tls-auth-clients", "no"] });
  });
  afterAll(async () => {
    await redis.stop();
    await rm(dir, { recursive: true });
  });

  test("is refused without a parameter, since nothing says that it is the right one", async () => {
    const refused = connected(`rediss://127.0.0.1:${port}`);
    await expect(refused).rejects.toThrow(StartError);
    await expect(refused).rejects.toThrow(/self-signed certificate/);
  });

  test("is used with ?tls=insecure, and with ?ca= and its certificate", async () => {
    for (const parameter of ["tls=insecure", `ca=${encodeURIComponent(join(dir, "cert.pem"))}`]) {
      const url = `rediss://127.0.0.1:${port}?${parameter}`;
      const connections = await connected(url);
      expect(await connections.commands.ping(), parameter).toBe("PONG");
      await fill(connections);
      await sourcesRead(url);
    }
  });

  /** A proxy that needs the name, as those that serve several servers. Each connection adds the name that it gave. */
  async function namedProxy(
    open: () => Socket,
  ): Promise<{ readonly port: number; readonly names: unknown[] }> {
    const [cert, key] = await Promise.all(["cert.pem", "key.pem"].map((name) => readFile(join(dir, name))));
    const names: unknown[] = [];
    const proxy = createTlsServer({ cert, key }, (near) => {
      names.push(near.servername);
      const far = open();
      for (const socket of [near, far]) socket.on("error", () => {});
      near.pipe(far).pipe(near);
    });
    onTestFinished(() => void proxy.close());
    await once(proxy.listen(0, "127.0.0.1"), "listening");
    return { port: (proxy.address() as AddressInfo).port, names };
  }

  test("is reached by its name through a proxy that serves several names", async () => {
    const { port: proxyPort, names } = await namedProxy(() => connect(redis.port, "127.0.0.1"));
    const place = `localhost:${proxyPort}?ca=${encodeURIComponent(join(dir, "cert.pem"))}`;

    const connections = await connected(`rediss://${place}`);
    await fill(connections);
    await sourcesRead(`rediss://${place}`);
    // What answers is no Faktory, but the name came before.
    await createFaktoryClient(`tcp+tls://${place}`)
      .use(AbortSignal.timeout(onThisMachine(1_000)), async () => {})
      .catch(() => {});
    expect(names.length).toBeGreaterThan(3);
    expect(new Set(names)).toEqual(new Set(["localhost"]));
  });

  test("is reached by its name where Sentinels name it, and so are they", async () => {
    const [cert, key] = [join(dir, "cert.pem"), join(dir, "key.pem")];
    const master = await namedProxy(() => connect(redis.port, "127.0.0.1"));
    await using sentinel = await launchSentinel((sentinelPort) => [
      ...[`port 0`, `tls-port ${sentinelPort}`, "tls-replication yes", "tls-auth-clients no"],
      ...[`tls-cert-file ${cert}`, `tls-key-file ${key}`, `tls-ca-cert-file ${cert}`],
      ...["sentinel resolve-hostnames yes", "sentinel announce-hostnames yes"],
      `sentinel monitor main localhost ${master.port} 1`,
    ]);
    const sentinels = await namedProxy(() =>
      connectTls({ port: sentinel.port, host: "127.0.0.1", rejectUnauthorized: false }),
    );
    const url = `rediss+sentinel://localhost:${sentinels.port}/main?ca=${encodeURIComponent(cert)}`;
    const connections = await until(() => connected(url), 50);
    expect(await connections.commands.ping()).toBe("PONG");
    await fill(connections);
    await sourcesRead(url);
    expect(new Set(sentinels.names)).toEqual(new Set(["localhost"]));
    // Sentinel itself gives no name.
    expect(new Set(master.names)).toEqual(new Set(["localhost", false]));
  });

  test("is reached by the names of its nodes when it is a Redis Cluster", async () => {
    const [cert, key, ca] = [
      join(dir, "cert.pem"),
      join(dir, "key.pem"),
      encodeURIComponent(join(dir, "cert.pem")),
    ];
    const tlsPort = await freePort();
    const node = await namedProxy(() =>
      connectTls({ port: tlsPort, host: "127.0.0.1", rejectUnauthorized: false }),
    );
    await using server = await startRedis({
      args: [
        ...[
          "--tls-port",
          `${tlsPort}`,
          "--tls-cert-file",
          cert,
          "--tls-key-file",
          key,
          "--tls-ca-cert-file",
          cert,
        ],
        ...["--tls-auth-clients", "no", "--tls-cluster", "yes", "--cluster-enabled", "yes"],
        ...["--cluster-announce-hostname", "localhost", "--cluster-preferred-endpoint-type", "hostname"],
        ...["--cluster-announce-tls-port", `${node.port}`, "--cluster-announce-ip", "127.0.0.1"],
      ],
    });
    const admin = new Redis(server.url);
    onTestFinished(() => admin.disconnect());
    await admin.call("CLUSTER", "ADDSLOTSRANGE", 0, 16_383);
    await until(async () => expect(await admin.cluster("INFO")).toContain("cluster_state:ok"));
    const url = `rediss://localhost:${node.port}?ca=${ca}`;
    const connections = createConnections({ urls: [url, url], logger: silentLogger });
    onTestFinished(() => connections.stop());
    await connections.start();
    await connections.commands.set("a", "b");
    expect(node.names.length).toBeGreaterThan(1);
    expect(new Set(node.names)).toEqual(new Set(["localhost"]));
  });

  test("is found by Sentinels that speak TLS, too, and have a password of their own", async () => {
    const [cert, key] = [join(dir, "cert.pem"), join(dir, "key.pem")];
    await using sentinel = await launchSentinel((sentinelPort) => [
      ...["port 0", `tls-port ${sentinelPort}`, "tls-replication yes", "tls-auth-clients no"],
      ...[`tls-cert-file ${cert}`, `tls-key-file ${key}`, `tls-ca-cert-file ${cert}`],
      ...["requirepass their-own", `sentinel monitor main 127.0.0.1 ${port} 1`],
    ]);
    const parameters = `tls=insecure&sentinelPassword=their-own`;
    const url = `rediss+sentinel://127.0.0.1:${sentinel.port}/main?${parameters}`;
    // It may not listen yet.
    const connections = await until(() => connected(url), 50);
    expect(await connections.commands.ping()).toBe("PONG");
    await fill(connections);
    await sourcesRead(url);
  });
});

test("a Unix socket, an ACL user, any password and a database are reached by URL", async () => {
  const dir = await mkdtemp(join(tmpdir(), "ql-unix ?#"));
  const socket = join(dir, "redis.sock");
  await using redis = await startRedis({ args: ["--unixsocket", socket, "--requirepass", "other"] });
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  const admin = await connected(`redis://:other@127.0.0.1:${redis.port}`);
  await admin.commands.call("ACL", "SETUSER", "us@r", "on", `>${password}`, "~*", "&*", "+@all");

  const login = `${encodeURIComponent("us@r")}:${encoded}`;
  const path = socket.split("/").map(encodeURIComponent).join("/");
  const urls = [
    { url: `unix://${login}@${path}?db=3`, db: 3 },
    { url: `redis+unix://:other@${path}?db=4`, db: 4 },
    { url: `redis://${login}@127.0.0.1:${redis.port}/5`, db: 5 },
  ];
  for (const { url, db } of urls) {
    const connections = await connected(url);
    expect(String(await connections.commands.client("INFO")), url).toContain(` db=${db} `);
    await fill(connections);
    await sourcesRead(url);
  }
});

test("Sentinels lead to the master, and to the next one after a failover", async () => {
  await using sentinel = await startSentinel({ password: "p@ss" });
  const url = `redis+sentinel://:p%40ss@127.0.0.1:1,127.0.0.1:${sentinel.port}/mymaster?db=1`;
  const connections = await connected(url);
  await fill(connections);
  await connections.commands.wait(1, 5_000);
  await sourcesRead(url);
  expect(String(await connections.commands.config("GET", "port"))).toContain(`${sentinel.master.port}`);

  // As sources of either kind are connected: they go on, too.
  const options = redisOptions(url);
  const watched = createWatchedRedis({ options, connectionName: "test", prepare: () => {} });
  onTestFinished(() => watched.close());
  const polled = createPolledRedis({ options, connectionName: "test", isClusterMessage: "a cluster" });
  onTestFinished(() => polled.close());
  const portsOfSources = () =>
    Promise.all([
      watched.use((redis) => (redis as Redis).config("GET", "port")),
      polled.use(AbortSignal.timeout(5_000), (redis) => redis.config("GET", "port")),
    ]);
  for (const port of await portsOfSources()) expect(String(port)).toContain(`${sentinel.master.port}`);

  await sentinel.master.kill();
  await until(async () => {
    const port = await connections.commands.config("GET", "port");
    expect(String(port)).toContain(`${sentinel.replica.port}`);
    await connections.commands.set("key", "written to the new master");
    await connections.changes.ping();
    for (const port of await portsOfSources()) expect(String(port)).toContain(`${sentinel.replica.port}`);
  }, 100);
  await sourcesRead(url);
});

test("Sentinels that do not answer, or do not know the name, keep the server from starting", async () => {
  await expect(connected("redis+sentinel://127.0.0.1:1,127.0.0.1:2/mymaster")).rejects.toThrow(
    /Redis does not answer at mymaster of the Sentinels 127\.0\.0\.1:1, 127\.0\.0\.1:2: All sentinels are unreachable.*REDIS_URL/,
  );
  await using sentinel = await startSentinel({ password: "p" });
  await expect(connected(`redis+sentinel://:p@127.0.0.1:${sentinel.port}/other`)).rejects.toThrow(
    /Redis does not answer at other of the Sentinels/,
  );
});

test("a Redis that answers and refuses is not reported as one that does not answer", async () => {
  await using redis = await startRedis({ args: ["--requirepass", "right"] });
  const at = `127.0.0.1:${redis.port}`;
  for (const { url, answer } of [
    { url: `redis://${at}`, answer: "NOAUTH" },
    { url: `redis://:wrong@${at}`, answer: "WRONGPASS" },
    { url: `redis://unknown:right@${at}`, answer: "WRONGPASS" },
    { url: `redis://:right@${at}/99`, answer: "ERR DB index is out of range" },
  ]) {
    await expect(connected(url), url).rejects.toThrow(
      new RegExp(
        `^Redis at ${at} refuses the connection: ${answer}.*REDIS_URL names its user, password and database`,
      ),
    );
  }
});
