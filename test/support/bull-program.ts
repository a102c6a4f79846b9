/**
 * A producer and a worker of Bull: `JOBS_REDIS=redis://127.0.0.1:PORT/DATABASE node bull-program.ts`. It reads a line of JSON for each
 * command, and answers with one.
 */
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import Bull from "bull";

interface Command {
  readonly do: "push" | "work" | "purge" | "pause" | "resume" | "recover";
  readonly queue: string;
  readonly names?: readonly string[];
  /** In seconds. */
  readonly delay?: number;
  readonly priority?: number;
  readonly atFront?: boolean;
  readonly jobs?: number;
}

interface Work {
  readonly name: string;
}

const worked: string[] = [];

/** A worker of its own each time: one of Bull cannot be stopped and started. */
function open(name: string): Bull.Queue<Work> {
  const settings = { stalledInterval: 100, guardInterval: 50, lockDuration: 300, retryProcessDelay: 0 };
  return new Bull(name, process.env.JOBS_REDIS ?? "", { settings });
}

async function work({ queue: name, jobs = 0 }: Command): Promise<void> {
  const queue = open(name);
  const done = Promise.withResolvers<void>();
  let begun = 0;
  const workOne = ({ data }: Bull.Job<Work>, end: Bull.DoneCallback): void => {
    if (data.name === "die") process.kill(process.pid, "SIGKILL");
    worked.push(data.name);
    begun += 1;
    const finish = () => end(data.name === "fail" ? new Error("to be tried again") : null);
    if (begun < jobs) finish();
    // As long as this one runs no other one is taken.
    else queue.pause(true, true).then(finish).then(done.resolve, done.reject);
  };
  queue.process(workOne).catch(done.reject);
  await done.promise;
  await queue.whenCurrentJobsFinished();
  await queue.close();
}

/** As every worker does now and then: puts back the jobs of workers that hold no lock any more, as soon as one is there. */
async function recover(queue: Bull.Queue<Work>): Promise<void> {
  const { moveUnlockedJobsToWait } = queue as unknown as { moveUnlockedJobsToWait(): Promise<unknown> };
  while ((await queue.getActiveCount()) > 0) {
    await moveUnlockedJobsToWait.call(queue);
    await sleep(20);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line) as Command;
  const { queue: name, names = [], delay = 0, priority, atFront = false } = command;
  if (command.do === "work") await work(command);
  else {
    const queue = open(name);
    const options = { attempts: 2, delay: delay * 1_000, lifo: atFront };
    for (const each of names)
      await queue.add({ name: each }, priority === undefined ? options : { ...options, priority });
    if (command.do === "pause") await queue.pause();
    if (command.do === "resume") await queue.resume();
    if (command.do === "purge") await queue.empty();
    if (command.do === "recover") await recover(queue);
    await queue.close();
  }
  process.stdout.write(`${JSON.stringify({ worked })}\n`);
}
