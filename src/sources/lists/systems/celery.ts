import { readFileSync } from "node:fs";
import type { Redis } from "ioredis";
import { escapeGlob, type ListSystem, membersOf } from "../list-system.ts";

/** What kombu puts between the parts of a name. */
const separator = "\x06\x16";
const defaultSteps = "0,3,6,9";
const maxMembers = 1_000;

/**
 * Celery on Redis. A queue is one list for each step of priority; that of step 0 has the queue's name alone. Which queues there are is in the
 * sets of bindings: an empty list is no key.
 */
export const celery: ListSystem = {
  kind: "celery",
  title: "Celery",
  pushedAt: "left",
  areDistinct: true,
  scoreMs: 1_000,
  look: readFileSync(new URL("../lua/look-celery.lua", import.meta.url), "utf8"),
  parameters: ["prefix", "steps", "timeHeader"],
  open(parameters) {
    const prefix = parameters.get("prefix") ?? "";
    const steps = (parameters.get("steps") ?? defaultSteps).split(",");
    const bindings = `${prefix}_kombu.binding.`;
    return {
      argument: parameters.get("timeHeader") ?? "",
      keysOf: (queue) => ({
        lists: steps.map((step) =>
          step === "0" ? `${prefix}${queue}` : `${prefix}${queue}${separator}${step}`,
        ),
        sets: [],
        pauses: [],
      }),
      listed: async () => [],
      scan: {
        pattern: `${escapeGlob(bindings)}*`,
        type: "set",
        async queuesOf(redis, keys) {
          const found: string[] = [];
          for (const key of keys)
            found.push(...(await queuesOfBinding(redis, key, key.slice(bindings.length))));
          return found;
        },
      },
      emptyHint: `no key is named ${bindings}NAME; ?prefix= sets a global_keyprefix, ?queues= names queues`,
    };
  },
};

/** A member is the routing key, a pattern and the queue. */
async function queuesOfBinding(redis: Redis, key: string, exchange: string): Promise<readonly string[]> {
  // Replies to commands, and events: no process takes tasks from these.
  if (/(^|\.)pidbox$/.test(exchange) || exchange === "celeryev") return [];
  const members = await membersOf(redis, key, maxMembers);
  return members.flatMap((member) => member.split(separator).slice(2, 3));
}
