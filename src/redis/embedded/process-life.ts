import { readFile } from "node:fs/promises";

/**
 * Tells whether a process lives. One that has ended but was not waited for by its parent (a zombie) does not: an orphan
 * stays one for ever where process 1 reaps nobody, as in many containers.
 */
export async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it lives, and belongs to somebody else.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
  const stat = await statOf(pid);
  return stat === null || (stat[0] !== "Z" && stat[0] !== "X");
}

/**
 * When a process started, in the system's own words, so that it can be told from a later one with the same pid; "-" where
 * the system does not say (without /proc), or when there is no such process.
 */
export async function startOf(pid: number): Promise<string> {
  const stat = await statOf(pid);
  return stat?.[19] ?? "-";
}

/** The fields of /proc/<pid>/stat from the third on: state first, and start in clock ticks since boot as the 20th. */
async function statOf(pid: number): Promise<readonly string[] | null> {
  try {
    const line = await readFile(`/proc/${pid}/stat`, "utf8");
    // The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
    return line.slice(line.lastIndexOf(")") + 2).split(" ");
  } catch {
    return null; // No /proc on this system, or no such process any more.
  }
}
