import { readFileSync } from "node:fs";
import { Cluster, type Redis } from "ioredis";
import type { RedisClient } from "./connect.ts";
import { refusalOf, unavailableOr } from "./errors.ts";
import { noteRefusal } from "./outages.ts";

/** A Lua script that Redis knows by its hash. */
export interface Script {
  readonly name: string;
  readonly lua: string;
  /** Whether its replies are bytes (`Buffer`), where others are text. @default false */
  readonly repliesBytes?: boolean;
}

export interface ScriptCall {
  readonly keys: readonly string[];
  readonly args: readonly (string | number)[];
}

/**
 * Reads a script from its source file. A line `-- @include other.lua`, with a path from that file, stands for the text of the
 * other file, which comes once however often it is included.
 */
export function loadScript(name: string, file: URL): Script {
  return { name, lua: withIncludes(file, new Set()) };
}

function withIncludes(file: URL, included: Set<string>): string {
  return readFileSync(file, "utf8").replace(/^-- @include (\S+)$/gm, (_, path: string) => {
    const other = new URL(path, file);
    if (included.has(other.href)) return "";
    included.add(other.href);
    return withIncludes(other, included);
  });
}

/** The same script, which Redis also runs at its `maxmemory`: for one that makes room, or that writes a bounded amount. */
export function allowOutOfMemory({ name, lua }: Script): Script {
  return { name: `${name}AtMaxmemory`, lua: `#!lua flags=allow-oom\n${lua}` };
}

export type PlainCommand = readonly (string | number)[];

/**
 * Runs one script many times, then the plain commands, if any. On one Redis that is a single round trip. On a Redis Cluster the
 * scripts are one, each at the node that has its keys, and the commands are another. A script that Redis has forgotten
 * (restart, failover, SCRIPT FLUSH) is sent again by ioredis.
 *
 * @returns one entry a call, in order: its reply, or the error that Redis answered to it, or AppError SERVICE_UNAVAILABLE when
 *   no answer came, though it may have run.
 * @throws AppError SERVICE_UNAVAILABLE when a plain command was not answered, and whatever Redis answers to one that it cannot
 *   do; the calls may have run all the same.
 */
export async function runScripts(
  redis: RedisClient,
  script: Script,
  calls: readonly ScriptCall[],
  plainCommands: readonly PlainCommand[] = [],
): Promise<unknown[]> {
  if (calls.length === 0) return [];
  if (!(script.name in redis)) redis.defineCommand(script.name, { lua: script.lua });
  const all = await (redis instanceof Cluster
    ? runOneByOne(redis, script, calls, plainCommands)
    : runTogether(redis, script, calls, plainCommands));
  for (const [error] of all.slice(0, calls.length)) {
    const refusal = refusalOf(error);
    if (error === null || refusal !== null) noteRefusal(redis, script.name, refusal);
  }
  const answers = all.map(([error, reply]) => (error === null ? reply : unavailableOr(error)));
  const failed = answers.slice(calls.length).find((answer) => answer instanceof Error);
  if (failed !== undefined) throw failed;
  return answers.slice(0, calls.length);
}

/** Runs one script once. @throws what Redis answered, or AppError SERVICE_UNAVAILABLE. */
export async function runScript(redis: RedisClient, script: Script, call: ScriptCall): Promise<unknown> {
  const [reply] = await runScripts(redis, script, [call]);
  if (reply instanceof Error) throw reply;
  return reply;
}

/** What came back to one command. */
type Answer = readonly [error: Error | null, reply: unknown];

/**
 * In one write. A pipeline of ioredis takes twice the CPU, and makes a hidden class of its own for V8, which keeps all commands and
 * replies until the next full garbage collection.
 */
function runTogether(
  redis: Redis,
  script: Script,
  calls: readonly ScriptCall[],
  plainCommands: readonly PlainCommand[],
): Promise<readonly Answer[]> {
  // There is none before the first connection.
  const stream: Redis["stream"] | undefined = redis.stream;
  stream?.cork();
  const replies = [
    ...calls.map((call) => runOn(redis, script, call)),
    ...plainCommands.map(([command, ...args]) => redis.call(String(command), ...args)),
  ];
  stream?.uncork();
  return answersOf(replies);
}

/**
 * In a cluster, all keys of a pipeline have to be on one node, and no command in it is redirected by itself. When a
 * script got no answer, the result does not wait for the plain commands either: a node that hangs takes the whole time
 * limit.
 */
async function runOneByOne(
  redis: Cluster,
  script: Script,
  calls: readonly ScriptCall[],
  plainCommands: readonly PlainCommand[],
): Promise<readonly Answer[]> {
  const answers = await answersOf(calls.map((call) => runOn(redis, script, call)));
  const later = answersOf(plainCommands.map(([command, ...args]) => redis.call(String(command), ...args)));
  const areAnswered = answers.every(([error]) => error === null || error.name === "ReplyError");
  return areAnswered ? [...answers, ...(await later)] : answers;
}

async function answersOf(replies: readonly unknown[]): Promise<readonly Answer[]> {
  const settled = await Promise.allSettled(replies);
  return settled.map((reply) => (reply.status === "fulfilled" ? [null, reply.value] : [reply.reason, null]));
}

function runOn(target: object, script: Script, { keys, args }: ScriptCall): unknown {
  const scripts = target as Record<string, (...args: readonly (string | number)[]) => unknown>;
  return scripts[script.repliesBytes ? `${script.name}Buffer` : script.name]?.(keys.length, ...keys, ...args);
}
