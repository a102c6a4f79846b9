import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { query, unprivileged } from "./postgres.ts";
import { isExecutable, isOnPath } from "./programs.ts";
import { freePort } from "./redis.ts";
import { until } from "./until.ts";

/** Debian keeps it where only root's PATH leads. */
const program = isOnPath("pgbouncer") ? "pgbouncer" : "/usr/sbin/pgbouncer";

/** Why tests with PgBouncer are to be skipped; null when they can run, and in CI, where they must. */
export const whyNoPgBouncer: string | null =
  process.env.CI === "true" || isOnPath("pgbouncer") || isExecutable(program)
    ? null
    : "pgbouncer is not installed: on Debian, apt-get install pgbouncer";

/** A PgBouncer in transaction mode before a Postgres on this machine, with one connection to each database of it. */
export async function startPgBouncer(
  postgresPort: number,
): Promise<AsyncDisposable & { readonly port: number }> {
  const dir = await mkdtemp(join(tmpdir(), "ql-pgbouncer-"));
  const users = join(dir, "users.txt");
  await writeFile(users, '"postgres" ""\n', { mode: 0o644 });
  const port = await freePort();
  const file = join(dir, "pgbouncer.ini");
  const lines = [
    "[databases]",
    `* = host=127.0.0.1 port=${postgresPort}`,
    "[pgbouncer]",
    "listen_addr = 127.0.0.1",
    `listen_port = ${port}`,
    "unix_socket_dir =",
    "auth_type = trust",
    `auth_file = ${users}`,
    "pool_mode = transaction",
    "default_pool_size = 1",
  ];
  await writeFile(file, lines.join("\n"), { mode: 0o644 });
  await chmod(dir, 0o755);
  const child = spawn(program, [file], { ...(unprivileged() ?? {}), stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-4000);
  });
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  const answers = await until(async () => {
    if (child.exitCode !== null) return false;
    await query(`postgres://postgres@127.0.0.1:${port}/postgres`, "SELECT 1");
    return true;
  }, 50);
  if (!answers) throw new Error(`PgBouncer ended: ${said}`);
  return {
    port,
    async [Symbol.asyncDispose]() {
      process.off("exit", killAtExit);
      const exited = once(child, "exit");
      child.kill("SIGKILL");
      await exited;
      await rm(dir, { recursive: true, force: true });
    },
  };
}
