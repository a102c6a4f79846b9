import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { StartError } from "../../src/core/errors.ts";
import { startOf } from "../../src/redis/embedded/process-life.ts";
import { acquireStartLock } from "../../src/redis/embedded/start-lock.ts";

/** How much later, at random, every step on the file system may come: what a busy machine does, but more of it. */
const jitter = vi.hoisted(() => ({ maxMs: 0 }));

vi.mock("node:fs/promises", async (importOriginal) => {
  const real = await importOriginal<typeof import("node:fs/promises")>();
  const late = <A extends readonly unknown[], R>(step: (...args: A) => Promise<R>) => {
    return async (...args: A): Promise<R> => {
      if (jitter.maxMs > 0) await sleep(Math.random() * jitter.maxMs);
      return await step(...args);
    };
  };
  return { ...real, link: late(real.link), rename: late(real.rename), rm: late(real.rm) };
});

describe("the start lock", () => {
  it("says who holds it, and is gone when it is released", async () => {
    const path = await lockPath();
    const lock = await acquireStartLock(path, { timeoutMs: 0 });
    expect(await readFile(path, "utf8")).toMatch(new RegExp(`^${process.pid} \\S+ [0-9a-f]{16}\n$`));
    await lock.release();
    expect(await readdir(join(path, ".."))).toEqual([]);
  });

  it("is had by one at a time", async () => {
    const path = await lockPath();
    let holders = 0;
    let held = 0;
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const lock = await acquireStartLock(path, { timeoutMs: 20_000 });
        expect(++holders).toBe(1);
        held++;
        await sleep(5);
        holders--;
        await lock.release();
      }),
    );
    expect(held).toBe(20);
    expect(await readdir(join(path, ".."))).toEqual([]);
  });

  it("names the holder and the file when a living one keeps it for too long", async () => {
    const path = await lockPath();
    await acquireStartLock(path, { timeoutMs: 0 });
    const began = performance.now();
    const error = await acquireStartLock(path, { timeoutMs: 200 }).catch((thrown: unknown) => thrown);
    expect(performance.now() - began).toBeGreaterThanOrEqual(190);
    expect(error).toEqual(
      new StartError(
        `Process ${process.pid} has held ${path} for too long. ` +
          "If it is no queue-latency server, remove that file; else end it.",
      ),
    );
  });

  it("stops waiting when it is told to", async () => {
    const path = await lockPath();
    const held = await acquireStartLock(path, { timeoutMs: 0 });
    const waiting = acquireStartLock(path, { timeoutMs: 20_000, signal: AbortSignal.timeout(50) });
    await expect(waiting).rejects.toThrow();
    await held.release();
    expect(await readdir(join(path, ".."))).toEqual([]);
  });

  it.each([
    { left: "a process that has ended", content: async () => `${await endedPid()} - 0123456789abcdef\n` },
    {
      left: "a process whose pid another one has by now",
      content: async () => `${process.pid} 1 0123456789abcdef\n`,
    },
    { left: "a crash of the machine, with nothing in it", content: async () => "" },
    { left: "a crash of the machine, with zeros in it", content: async () => "\0".repeat(40) },
  ])("takes over what was left by $left", async ({ content }) => {
    const path = await lockPath();
    await writeFile(path, await content());
    const lock = await acquireStartLock(path, { timeoutMs: 5_000 });
    expect(await readFile(path, "utf8")).toContain(`${process.pid} ${await startOf(process.pid)} `);
    await lock.release();
    expect(await readdir(join(path, ".."))).toEqual([]);
  });

  it.skipIf(process.platform !== "linux")(
    "takes over from a process that nobody has waited for",
    async () => {
      const path = await lockPath();
      const parent = spawn("sh", ["-c", "sleep 0 & echo $!; exec sleep 60"], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      onTestFinished(() => {
        parent.kill("SIGKILL");
      });
      const zombie = Number(String((await once(parent.stdout, "data"))[0]));
      await writeFile(path, `${zombie} ${await startOf(zombie)} 0123456789abcdef\n`);
      await (await acquireStartLock(path, { timeoutMs: 5_000 })).release();
    },
  );

  it("takes over also when a process died while taking over", async () => {
    const path = await lockPath();
    const dead = `${await endedPid()} - 0123456789abcdef\n`;
    await writeFile(path, dead);
    await writeFile(`${path}.takeover`, dead);
    await (await acquireStartLock(path, { timeoutMs: 5_000 })).release();
    expect(await readdir(join(path, ".."))).toEqual([]);
  });

  it("does not remove a lock that is another's by now", async () => {
    const path = await lockPath();
    const lock = await acquireStartLock(path, { timeoutMs: 0 });
    await unlink(path);
    const other = await acquireStartLock(path, { timeoutMs: 0 });
    await lock.release();
    expect(await readdir(join(path, ".."))).toEqual(["starting.lock"]);
    await other.release();
  });

  it("is had by one at a time in several processes, of which some are killed while they hold it", async () => {
    const path = await lockPath();
    const contenders = Array.from({ length: 4 }, () => contend(path, `${path}-inside`));
    // Whoever holds it is killed, wherever in its work it is; the others must notice, and only one of them take it.
    for (let killed = 0; killed < 3; ) {
      await sleep(150);
      const holder = Number((await readFile(path, "utf8").catch(() => "")).split(" ")[0]);
      const child = contenders.find((contender) => contender.pid === holder && contender.exitCode === null);
      if (child === undefined || child.signalCode !== null) continue;
      child.kill("SIGKILL");
      await once(child, "exit");
      killed++;
    }
    const survivor = contenders.find(({ signalCode }) => signalCode === null)!;
    const before = survivor.output.length;
    while (survivor.output.length < before + 10) await sleep(20);
    expect(new Set(contenders.flatMap(({ output }) => output))).toEqual(new Set(["held"]));
  });

  it("lets one of many through when all find the same dead lock at once", async () => {
    const path = await lockPath();
    const dead = `${await endedPid()} - 0123456789abcdef\n`;
    jitter.maxMs = 10;
    onTestFinished(() => {
      jitter.maxMs = 0;
    });
    for (let round = 0; round < 4; round++) {
      await writeFile(path, dead);
      let holders = 0;
      await Promise.all(
        Array.from({ length: 8 }, async () => {
          const lock = await acquireStartLock(path, { timeoutMs: 20_000 });
          expect(++holders).toBe(1);
          await sleep(10);
          holders--;
          await lock.release();
        }),
      );
    }
    expect(await readdir(join(path, ".."))).toEqual([]);
  });
});

async function lockPath(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "ql-lock-"));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return join(dir, "starting.lock");
}

interface Contender extends ChildProcess {
  /** What it has printed, line by line. */
  readonly output: readonly string[];
}

function contend(path: string, insidePath: string): Contender {
  const script = fileURLToPath(new URL("../support/start-lock-process.ts", import.meta.url));
  const child = spawn(process.execPath, [script, path, insidePath], { stdio: ["ignore", "pipe", "inherit"] });
  const output: string[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => output.push(line));
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  });
  return Object.assign(child, { output });
}

/** The pid of a process that was ours, and has ended. */
async function endedPid(): Promise<number> {
  const child = spawn(process.execPath, ["--version"], { stdio: "ignore" });
  await once(child, "exit");
  return child.pid ?? -1;
}
