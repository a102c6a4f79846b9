/** A load process: runs what `startLoad()` asks for, until that drops it. */

import { askAtRate, askInTurn } from "./ask.ts";
import { askFaktory } from "./ask-faktory.ts";
import { timeEvents } from "./events.ts";
import { type floods, runFloods } from "./floods.ts";
import { foldEvents, pushValues } from "./fold.ts";
import type { LoadReply, LoadRequest } from "./messages.ts";
import { pollQuery } from "./poll.ts";
import { recordEvents } from "./record.ts";
import { countPushes, depthSeenByAll, openSubscribers, startTiming, stopTiming } from "./subscribers.ts";

const tasks = {
  askAtRate,
  askFaktory,
  askInTurn,
  countPushes,
  depthSeenByAll,
  foldEvents,
  openSubscribers,
  pollQuery,
  pushValues,
  recordEvents,
  startFlood,
  startTiming,
  stopTiming,
  timeEvents,
};
export type LoadTasks = typeof tasks;

/** Begins one of the floods, which ends with this process. */
function startFlood({ name, url }: { readonly name: keyof typeof floods; readonly url: string }): void {
  void runFloods(name, url);
}

process.on("disconnect", () => process.exit());
process.on("message", (message) => {
  void answer(message as LoadRequest);
});

async function answer({ id, task, options }: LoadRequest): Promise<void> {
  const run = tasks[task as keyof LoadTasks] as (options: unknown) => unknown;
  const cpuBefore = process.cpuUsage();
  const startedAtMs = performance.now();
  let reply: LoadReply;
  try {
    const result = await run(options);
    const { user, system } = process.cpuUsage(cpuBefore);
    reply = { id, result, busy: (user + system) / 1000 / (performance.now() - startedAtMs) };
  } catch (error) {
    reply = { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  process.send?.(reply);
}
