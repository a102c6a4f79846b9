import { readFileSync } from "node:fs";
import type { Redis } from "ioredis";
import { AppError } from "../core/errors.ts";
import { refusalOf, unavailableOr } from "./errors.ts";
import { noteRefusal } from "./refusals.ts";

/** A Lua script that Redis knows by its hash. */
export interface Script {
  readonly name: string;
  readonly lua: string;
}

export interface ScriptCall {
  readonly keys: readonly string[];
  readonly args: readonly (string | number)[];
}

/** Reads a script from its source file; of several, the earlier ones define what the last one uses. */
export function loadScript(name: string, ...urls: readonly URL[]): Script {
  return { name, lua: urls.map((url) => readFileSync(url, "utf8")).join("\n") };
}

export type PlainCommand = readonly (string | number)[];

/**
 * Runs one script many times in a single round trip, then the plain commands, if any. A script that Redis has forgotten (restart, failover, SCRIPT FLUSH) is
 * sent again by ioredis.
 *
 * @returns one entry a call, in order: its reply, or the error that Redis answered to it.
 * @throws AppError SERVICE_UNAVAILABLE when Redis does not answer, and whatever it answers to a plain command that it cannot
 *   do; some of the calls may have run.
 */
export async function runScripts(
  redis: Redis,
  script: Script,
  calls: readonly ScriptCall[],
  plainCommands: readonly PlainCommand[] = [],
): Promise<unknown[]> {
  if (calls.length === 0) return [];
  define(redis, script);
  const pipeline = redis.pipeline();
  const scripts = pipeline as unknown as Record<string, (...args: readonly (string | number)[]) => unknown>;
  for (const call of calls) scripts[script.name]?.(call.keys.length, ...call.keys, ...call.args);
  for (const [command, ...args] of plainCommands) pipeline.call(String(command), ...args);
  let replies: [Error | null, unknown][] | null;
  try {
    replies = await pipeline.exec();
  } catch (error) {
    throw unavailableOr(error);
  }
  for (const [error] of (replies ?? []).slice(0, calls.length)) {
    const refusal = refusalOf(error);
    if (error === null || refusal !== null) noteRefusal(redis, script.name, refusal);
  }
  const answers = (replies ?? []).map(([error, reply]) => (error === null ? reply : unavailableOr(error)));
  const lost = answers.find((answer) => answer instanceof AppError);
  if (lost !== undefined) throw lost;
  const failed = answers.slice(calls.length).find((answer) => answer instanceof Error);
  if (failed !== undefined) throw failed;
  return answers.slice(0, calls.length);
}

/** Runs one script once. @throws what Redis answered, or AppError SERVICE_UNAVAILABLE. */
export async function runScript(redis: Redis, script: Script, call: ScriptCall): Promise<unknown> {
  const [reply] = await runScripts(redis, script, [call]);
  if (reply instanceof Error) throw reply;
  return reply;
}

function define(redis: Redis, script: Script): void {
  if (!(script.name in redis)) redis.defineCommand(script.name, { lua: script.lua });
}
