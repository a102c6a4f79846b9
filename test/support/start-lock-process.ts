/**
 * Takes the start lock again and again, until it is killed: `node start-lock-process.ts LOCK INSIDE`. While it holds the lock it
 * keeps its pid in the file INSIDE; it prints "held" when nobody else has touched that, and "two hold it" when somebody has.
 */
import { readFile, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { acquireStartLock } from "../../src/redis/embedded/start-lock.ts";

const [, , lockPath = "", insidePath = ""] = process.argv;
const me = String(process.pid);
for (;;) {
  const lock = await acquireStartLock(lockPath, { timeoutMs: 30_000 });
  await writeFile(insidePath, me);
  await sleep(5);
  const found = await readFile(insidePath, "utf8");
  process.stdout.write(found === me ? "held\n" : "two hold it\n");
  await lock.release();
}
