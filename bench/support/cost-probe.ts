/** Loaded into a server that is measured (`--import`): answers, at a Unix socket, how busy the process was since it was asked last. */
import { createServer } from "node:net";
import { isMainThread } from "node:worker_threads";

export interface ProbeReading {
  /** Of a core, in ms, of all threads. */
  readonly cpuMs: number;
  /**
   * The most CPU time that the main thread took between two turns of the event loop, in ms: what others on the machine do is not
   * in it. 0 unless it was asked for by the last reading: watching the turns takes a core.
   */
  readonly maxHoldMs: number;
}

let before = process.cpuUsage();
let maxHoldMs = 0;
let isWatching = false;
let turnedAt = process.threadCpuUsage();

function watch(): void {
  const now = process.threadCpuUsage();
  maxHoldMs = Math.max(maxHoldMs, (now.user + now.system - turnedAt.user - turnedAt.system) / 1_000);
  turnedAt = now;
  if (isWatching) setImmediate(watch);
}

const path = process.env.COST_PROBE;
// Workers load it, too.
if (path !== undefined && isMainThread) {
  const server = createServer((socket) => {
    socket.once("data", (request) => {
      const { user, system } = process.cpuUsage(before);
      const reading: ProbeReading = { cpuMs: (user + system) / 1_000, maxHoldMs };
      before = process.cpuUsage();
      const wasWatching = isWatching;
      isWatching = String(request) === "watch";
      maxHoldMs = 0;
      turnedAt = process.threadCpuUsage();
      if (isWatching && !wasWatching) setImmediate(watch);
      socket.end(JSON.stringify(reading));
    });
  });
  server.listen(path);
  server.unref();
}
