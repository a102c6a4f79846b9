import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { startRestartedServer } from "./restarted-server.ts";
import { ask } from "./server.ts";

export interface RecorderProgram {
  /** It is given the URL of the server as its last argument, and lines of TYPE QUEUE JOB_ID on standard input. */
  readonly command: readonly [string, ...string[]];
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
}

const jobs = 3_000;
const queues = ["first", "second", "third"] as const;

/**
 * Has a program record the jobs of three queues while the server is killed twice in the middle, and expects that every job counts once.
 *
 * @param env of the server.
 */
export async function expectExactTotals(
  program: RecorderProgram,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  await using server = await startRestartedServer(env);
  const [file, ...args] = program.command;
  const child = spawn(file, [...args, server.url], {
    cwd: program.cwd,
    env: program.env ?? process.env,
    stdio: ["pipe", "pipe", "pipe"],
  });
  try {
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => {
        output += chunk.toString();
      });
    const ended = once(child, "close");
    // A program that has ended takes no more lines; what it has said is in the failure below.
    child.stdin.on("error", () => {});
    for (const queue of queues) {
      writeJobs(child.stdin, queue);
      if (queue === "third") break;
      if (queue === "second") await server.start();
      await recordingBegun(
        server.url,
        queue,
        () => child.exitCode === null,
        () => output,
      );
      await server.kill();
    }
    await server.start();
    child.stdin.end();
    expect(await ended, output).toEqual([0, null]);
    // Each job was enqueued, and every second one dequeued.
    expect(output).toContain(`recorded ${queues.length * jobs * 1.5} dropped 0\n`);
    expect(await totals(server.url)).toEqual(
      queues.map((queue) => ({ queue, depth: jobs / 2, waitTime: { count: jobs / 2 } })),
    );
  } finally {
    child.kill("SIGKILL");
  }
}

function writeJobs(input: NodeJS.WritableStream, queue: string): void {
  for (let id = 0; id < jobs; id++) {
    input.write(`ENQUEUED ${queue} ${id}\n`);
    if (id % 2 === 0) input.write(`DEQUEUED ${queue} ${id}\n`);
  }
}

async function recordingBegun(
  url: string,
  queue: string,
  isRunning: () => boolean,
  output: () => string,
): Promise<void> {
  for (;;) {
    const { body } = await ask(url, "query ($queue: String!) { queueLatency(queues: [$queue]) { state } }", {
      queue,
    });
    if (body.data?.queueLatency[0].state !== "MISSING") return;
    if (!isRunning()) throw new Error(`the program ended: ${output()}`);
    await sleep(5);
  }
}

async function totals(url: string): Promise<unknown> {
  const { body } = await ask(
    url,
    `query ($queues: [String!]!) {
      queueLatency(queues: $queues) { queue depth waitTime(window: FIFTEEN_MINUTES) { count } }
    }`,
    { queues },
  );
  return body.data.queueLatency;
}
