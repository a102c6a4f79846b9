import { randomBytes } from "node:crypto";
import { link, readFile, rename, rm, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { StartError } from "../../core/errors.ts";
import { isAlive, startOf } from "./process-life.ts";

export interface StartLockOptions {
  /** How long a living owner is waited for, in ms. */
  readonly timeoutMs: number;
  /** Ends the waiting: what it was aborted with is thrown. */
  readonly signal?: AbortSignal | undefined;
}

export interface StartLock {
  release(): Promise<void>;
}

/**
 * Takes the lock file at `path`: at any instant at most one holder, over all processes of this machine. It says who holds
 * it (pid, start of that process, a token), so that the lock of a process that died is taken over.
 *
 * @throws StartError when a living process has kept it for `timeoutMs`.
 */
export async function acquireStartLock(path: string, options: StartLockOptions): Promise<StartLock> {
  const token = randomBytes(8).toString("hex");
  const claim: Claim = {
    path: `${path}.${token}`,
    content: `${process.pid} ${await startOf(process.pid)} ${token}\n`,
  };
  const deadline = performance.now() + options.timeoutMs;
  for (;;) {
    options.signal?.throwIfAborted();
    const found = await read(path);
    const taken =
      found === null
        ? await place(claim, path)
        : !(await isHeld(found)) && (await takeOver(claim, path, deadline, options.signal));
    if (taken) return { release: () => release(claim, path) };
    if (performance.now() >= deadline) throw new StartError(heldTooLong(path, found));
    await sleep(pollMs, undefined, { signal: options.signal });
  }
}

const pollMs = 20;

/** What one holder writes, and the name it writes it under before it is put in place as a whole. */
interface Claim {
  readonly path: string;
  readonly content: string;
}

/** Puts the claim in place if nothing is there. A link, unlike an open with O_EXCL, is never seen half written. */
async function place(claim: Claim, path: string): Promise<boolean> {
  await writeFile(claim.path, claim.content, { mode: 0o600 });
  try {
    await link(claim.path, path);
    return true;
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    throw error;
  } finally {
    await rm(claim.path, { force: true });
  }
}

/**
 * Replaces the lock of a dead process by the claim. Whoever only read that it is dead and then removes it may remove the
 * lock of somebody who was faster; so one at a time, under a lock of its own, looks again and replaces it in one step. In
 * between nobody else can change it: the dead do not release, and `place` does nothing while something is there.
 */
async function takeOver(
  claim: Claim,
  path: string,
  deadline: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const timeoutMs = Math.max(0, deadline - performance.now());
  const turn = await acquireStartLock(`${path}.takeover`, { timeoutMs, signal });
  try {
    const found = await read(path);
    if (found === null || (await isHeld(found))) return false;
    await writeFile(claim.path, claim.content, { mode: 0o600 });
    await rename(claim.path, path);
    return true;
  } finally {
    await turn.release();
  }
}

/** Removes the lock, unless somebody has removed it by hand and it is another's now. */
async function release(claim: Claim, path: string): Promise<void> {
  if ((await read(path)) === claim.content) await rm(path, { force: true });
}

/**
 * Tells whether the process lives that wrote this. Its pid may have been given to another process since (in a container
 * that starts again, very likely to ourselves): hence the start. Text of no known form is nobody's: locks appear as a
 * whole, so it is what a crash of the machine has left.
 */
async function isHeld(content: string): Promise<boolean> {
  const owner = ownerOf(content);
  if (owner === null || !(await isAlive(owner.pid))) return false;
  return owner.start === (await startOf(owner.pid));
}

function ownerOf(content: string): { readonly pid: number; readonly start: string } | null {
  const [, pid, start] = /^([1-9]\d{0,9}) (\S+) \S+\n$/.exec(content) ?? [];
  return pid === undefined || start === undefined ? null : { pid: Number(pid), start };
}

async function read(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return null;
    throw error;
  }
}

function heldTooLong(path: string, content: string | null): string {
  const pid = ownerOf(content ?? "")?.pid ?? "unknown";
  return `Process ${pid} has held ${path} for too long. If it is no queue-latency server, remove that file; else end it.`;
}

function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
