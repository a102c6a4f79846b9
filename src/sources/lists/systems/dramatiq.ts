import { readFileSync } from "node:fs";
import { escapeGlob, type ListSystem } from "../list-system.ts";

const defaultNamespace = "dramatiq";

/** Dramatiq on Redis. A list holds ids of messages, and a hash beside it the messages. */
export const dramatiq: ListSystem = {
  kind: "dramatiq",
  title: "Dramatiq",
  pushedAt: "right",
  areDistinct: true,
  scoreMs: 1_000,
  look: readFileSync(new URL("../lua/look-dramatiq.lua", import.meta.url), "utf8"),
  parameters: ["namespace"],
  open(parameters) {
    const prefix = `${parameters.get("namespace") ?? defaultNamespace}:`;
    return {
      argument: "",
      keysOf: (queue) => ({ lists: [`${prefix}${queue}`], sets: [], pauses: [] }),
      listed: async () => [],
      scan: {
        pattern: `${escapeGlob(prefix)}*`,
        type: "list",
        async queuesOf(_, keys) {
          const names = keys.map((key) => key.slice(prefix.length));
          // Messages with a delay, which workers hold until they are due.
          return names.map((name) => name.replace(/\.DQ$/, ""));
        },
      },
      emptyHint: `no list is named ${prefix}NAME; ?namespace= sets another namespace, ?queues= names queues`,
    };
  },
};
