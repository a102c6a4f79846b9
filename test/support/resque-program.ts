/**
 * A producer and a worker of Resque: `JOBS_REDIS=redis://127.0.0.1:PORT/DATABASE node resque-program.ts`. It reads a line of JSON for each
 * command, and answers with one.
 */
import { createInterface } from "node:readline";
import { type Job, Plugins, Queue, Worker } from "node-resque";

const { hostname: host, port, pathname } = new URL(process.env.JOBS_REDIS ?? "");
const connection = { host, port: Number(port), database: Number(pathname.slice(1)), namespace: "resque" };

interface Command {
  readonly do: "push" | "work" | "purge";
  readonly queue: string;
  readonly names?: readonly string[];
  /** In seconds. */
  readonly delay?: number;
  readonly jobs?: number;
}

const worked: string[] = [];
/** Between which two times each job was pushed, or begun, in ms. */
type Times = (readonly [fromMs: number, toMs: number])[];

const hourMs = 3_600_000;
const jobs: Record<string, Job<unknown>> = {
  Work: {
    plugins: [Plugins.Retry],
    pluginOptions: { Retry: { retryLimit: 2, retryDelay: hourMs } },
    async perform(name: string) {
      if (name === "die") process.kill(process.pid, "SIGKILL");
      worked.push(name);
      if (name === "fail") throw new Error("to be tried again");
    },
  },
};
const producer = new Queue({ connection }, jobs);
await producer.connect();

async function push({ queue, names = [], delay }: Command): Promise<Times> {
  const times: Times = [];
  for (const name of names) {
    const fromMs = Date.now();
    if (delay === undefined) await producer.enqueue(queue, "Work", [name]);
    else await producer.enqueueIn(delay * 1_000, queue, "Work", [name]);
    times.push([fromMs, Date.now()]);
  }
  return times;
}

async function work({ queue, jobs: count = 0 }: Command): Promise<Times> {
  const times: Times = [];
  const worker = new Worker({ connection, queues: [queue], timeout: 10 }, jobs);
  await worker.connect();
  const done = Promise.withResolvers<void>();
  let fromMs = Date.now();
  worker.on("job", () => times.push([fromMs, Date.now()]));
  const onEnd = () => {
    fromMs = Date.now();
    // It takes no other one.
    if (times.length === count) worker.end().then(done.resolve, done.reject);
  };
  // Also of one that is to be tried again.
  worker.on("success", onEnd).on("error", done.reject);
  await worker.start();
  await done.promise;
  return times;
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line) as Command;
  let times: Times = [];
  if (command.do === "push") times = await push(command);
  else if (command.do === "work") times = await work(command);
  else await producer.delQueue(command.queue);
  process.stdout.write(`${JSON.stringify({ worked, times })}\n`);
}
