import { readdirSync, readFileSync } from "node:fs";

/**
 * How long a process has been running on a CPU since it began, with all its threads, in ms. From Linux's scheduler, which
 * counts in ns; the times in `/proc/PID/stat` are in steps of 10 ms.
 */
export function cpuMs(pid: number): number {
  let ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]);
    } catch {
      // It has ended since the directory was read.
    }
  }
  return ns / 1e6;
}

/** How much of a process is in memory (RSS), in bytes. */
export function residentBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  if (kilobytes === undefined) throw new Error(`expected VmRSS in /proc/${pid}/status`);
  return Number(kilobytes) * 1024;
}
