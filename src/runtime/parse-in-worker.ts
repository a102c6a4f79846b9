import { Worker } from "node:worker_threads";

/** A function that a module exports: takes a text, and returns data that can be passed between threads. */
export interface ExportedParser {
  readonly module: URL;
  readonly name: string;
}

const timeLimitMs = 10_000;

/**
 * Runs a parser in a thread of its own, so that a long or broken text does not hold up the event loop.
 *
 * @throws Error with the parser's message; or when it takes longer than 10 s or too much memory.
 */
export function parseInWorker<T>({ module, name }: ExportedParser): (text: string) => Promise<T> {
  return (text) =>
    new Promise<T>((resolve, reject) => {
      const worker = new Worker(new URL("./parse-worker.ts", import.meta.url), {
        workerData: { module: module.href, name, text },
        resourceLimits: { maxOldGenerationSizeMb: 256 },
      });
      const limit = setTimeout(() => {
        reject(new Error(`not parsed within ${timeLimitMs / 1000} s`));
        void worker.terminate();
      }, timeLimitMs);
      const end = () => clearTimeout(limit);
      worker.once("message", ({ value, problem }: { value: T; problem: string | null }) => {
        if (problem === null) resolve(value);
        else reject(new Error(problem));
      });
      worker.once("error", reject);
      worker.once("exit", end);
    });
}
