import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import { isExecutable, isOnPath } from "./programs.ts";
import { attempts, freePort } from "./redis.ts";
import { hangsAfterMs } from "./until.ts";

/** A real Faktory server, with the redis-server that it starts for itself; no other process knows its port. */
export interface TestFaktory extends AsyncDisposable {
  /** With the password in it, where there is one. */
  readonly url: string;
  /** Of the process that runs now, or ran last: another one after `resume()`. */
  readonly pid: number;
  /** The Unix socket of its own Redis, for what cannot be brought about by Faktory's commands. */
  readonly redisSocket: string;
  /** With `tls`: the certificate it shows, in PEM, signed by itself for `localhost`. */
  readonly certificate: string | null;
  /** Ends the process and its Redis, keeps the data. */
  halt(): Promise<void>;
  /** Starts it again on the same port and data. */
  resume(): Promise<void>;
  /** Ends everything and removes its directory; may be called again. */
  stop(): Promise<void>;
}

export interface TestFaktoryOptions {
  readonly password?: string;
  /** Speak TLS only, with a new self-signed certificate (made by the openssl command). */
  readonly tls?: boolean;
}

/** Where script/install-faktory has put the server; null when it has not. */
export function faktoryBinary(): string | null {
  const module = readFileSync(join(import.meta.dirname, "faktory/go.mod"), "utf8");
  const version = /^require github\.com\/contribsys\/faktory v(\S+)$/m.exec(module)?.[1];
  const binary = join(import.meta.dirname, `../../.cache/faktory/faktory-${version}`);
  return isExecutable(binary) ? binary : null;
}

/** Why tests with Faktory are to be skipped; null when they can run, and in CI, where they must. */
export const whyNoFaktory: string | null = process.env.CI === "true" ? null : whatIsMissing();

/** Why tests with `tls` are to be skipped; null when they can run, and in CI. */
export const whyNoTls: string | null =
  process.env.CI === "true" || isOnPath("openssl") ? null : "openssl is not on the PATH";

/** Starts Faktory on a free port of 127.0.0.1, in a temporary directory; resolves when it accepts connections. */
export async function startFaktory(options: TestFaktoryOptions = {}): Promise<TestFaktory> {
  const binary = faktoryBinary();
  const missing = whatIsMissing();
  if (binary === null || missing !== null) throw new Error(missing ?? "Faktory is not installed");
  const dir = await mkdtemp(join(tmpdir(), "ql-faktory-"));
  const data = join(dir, "db");
  const config = join(dir, "config");
  await mkdir(config);
  const certificate = options.tls === true ? await makeCertificate(config) : null;

  const launch = (port: number) => {
    const args = ["-b", `127.0.0.1:${port}`, "-w", ":0", "-d", data, "-c", config, "-e", "development"];
    return launchFaktory(binary, args, options.password);
  };
  // Between finding a port free and binding it another process may take it: then another one is tried. Servers that start
  // together for the first time can also trip over the one configuration file that they all write for their Redis.
  let port = 0;
  let child = await attempts(5, async () => {
    port = await freePort();
    return await launch(port);
  });
  const redisSocket = join(data, "redis.sock");
  let redisPid = await pidOfRedis(redisSocket);
  // An operator who ends the test process in the middle of a test must not leave a server behind; its Redis dies with it.
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);

  async function halt(): Promise<void> {
    await end(child);
    await endOrphan(redisPid);
  }
  async function stop(): Promise<void> {
    process.off("exit", killAtExit);
    await halt();
    await rm(dir, { recursive: true, force: true });
  }
  const login = options.password === undefined ? "" : `:${encodeURIComponent(options.password)}@`;
  return {
    url: certificate === null ? `tcp://${login}127.0.0.1:${port}` : `tcp+tls://${login}localhost:${port}`,
    get pid() {
      return child.pid ?? -1;
    },
    redisSocket,
    certificate,
    halt,
    async resume() {
      child = await launch(port);
      redisPid = await pidOfRedis(redisSocket);
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

function whatIsMissing(): string | null {
  if (faktoryBinary() === null) return "Faktory is not installed: run script/install-faktory, which needs Go";
  if (!isOnPath("redis-server")) return "redis-server is not on the PATH";
  return null;
}

/** Faktory speaks TLS when it finds these two files in its configuration. */
async function makeCertificate(config: string): Promise<string> {
  const file = join(config, "public.cert.pem");
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"];
  const files = ["-keyout", join(config, "private.key.pem"), "-out", file];
  execFileSync("openssl", ["req", "-x509", ...key, ...subject, ...files], { stdio: "ignore" });
  return await readFile(file, "utf8");
}

async function launchFaktory(
  binary: string,
  args: readonly string[],
  password: string | undefined,
): Promise<ChildProcess> {
  const { FAKTORY_PASSWORD: _, ...env } = process.env;
  const child = spawn(binary, args, {
    env: password === undefined ? env : { ...env, FAKTORY_PASSWORD: password },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  const started = new Promise<void>((resolve, reject) => {
    const receive = (chunk: Buffer) => {
      output = (output + chunk.toString()).slice(-4000);
      // The port is bound before this line is written: the proof that it is this one that answers there.
      if (output.includes(" listening at ")) resolve();
    };
    child.stdout.on("data", receive);
    child.stderr.on("data", receive);
    child.once("error", reject);
    child.once("exit", (code, signal) => reject(new Error(`Faktory ended (${signal ?? code}): ${output}`)));
    setTimeout(() => reject(new Error(`Faktory was not ready in time: ${output}`)), hangsAfterMs).unref();
  });
  try {
    await started;
  } catch (error) {
    child.kill("SIGKILL");
    throw error;
  }
  // Its log must still be read, or Faktory blocks on a full pipe.
  child.stdout.removeAllListeners("data").resume();
  child.stderr.removeAllListeners("data").resume();
  return child;
}

async function pidOfRedis(socket: string): Promise<number> {
  const redis = new Redis(socket);
  try {
    return Number(/^process_id:(\d+)/m.exec(await redis.info("server"))?.[1]);
  } finally {
    redis.disconnect();
  }
}

/** On SIGTERM Faktory ends its Redis, waits until it is gone, and goes. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  // For a test that left it stopped by SIGSTOP.
  child.kill("SIGCONT");
  const forced = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await exited;
  clearTimeout(forced);
}

/** A Faktory that was killed takes its Redis along on Linux only. */
async function endOrphan(pid: number): Promise<void> {
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    try {
      process.kill(pid, signal);
    } catch {
      return;
    }
    await delay(500);
  }
}
