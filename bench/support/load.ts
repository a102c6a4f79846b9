import { type ChildProcess, fork } from "node:child_process";
import type { LoadReply, LoadRequest } from "../load/messages.ts";
import type { LoadTasks } from "../load/process.ts";

type Options<K extends keyof LoadTasks> = Parameters<LoadTasks[K]>[0];
type Result<K extends keyof LoadTasks> = Awaited<ReturnType<LoadTasks[K]>>;

/** A process that asks, subscribes or records, so that this takes no time from the server. */
export interface Load extends AsyncDisposable {
  /** Runs one of the tasks there; rejects with its error. */
  run<K extends keyof LoadTasks>(task: K, options: Options<K>): Promise<Result<K>>;
  /** What share of a core it has taken at most, during any task: near 1, it and not the server was measured. */
  busiest(): number;
}

export function startLoad(): Load {
  const child = fork(new URL("../load/process.ts", import.meta.url), { serialization: "advanced" });
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let requests = 0;
  let busiest = 0;
  child.on("message", (message) => {
    const { id, result, error, busy = 0 } = message as LoadReply;
    busiest = Math.max(busiest, busy);
    if (error === undefined) waiting.get(id)?.resolve(result);
    else waiting.get(id)?.reject(new Error(error));
    waiting.delete(id);
  });
  child.once("exit", (code, signal) => {
    for (const { reject } of waiting.values()) reject(new Error(`a load process ended (${signal ?? code})`));
  });
  return {
    async run<K extends keyof LoadTasks>(task: K, options: Options<K>): Promise<Result<K>> {
      const id = requests++;
      const answer = Promise.withResolvers<unknown>();
      waiting.set(id, answer);
      child.send({ id, task, options } satisfies LoadRequest);
      return (await answer.promise) as Result<K>;
    },
    busiest: () => busiest,
    [Symbol.asyncDispose]: () => ended(child),
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  // Without its other end it ends by itself.
  child.disconnect();
  await exited;
}
