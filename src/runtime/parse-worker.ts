// Runs in a thread: parse-in-worker.ts starts it.
import { parentPort, workerData } from "node:worker_threads";
import { messageOf } from "../core/errors.ts";

const { module, name, text } = workerData as { module: string; name: string; text: string };
const parser = (await import(module))[name] as (text: string) => unknown;
try {
  parentPort?.postMessage({ value: parser(text), problem: null });
} catch (error) {
  parentPort?.postMessage({ value: null, problem: messageOf(error) });
}
