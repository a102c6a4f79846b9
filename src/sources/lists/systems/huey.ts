import { readFileSync } from "node:fs";
import { escapeGlob, type ListSystem } from "../list-system.ts";

const prefix = "huey.redis.";

/**
 * Huey on Redis. Tasks are pickles without a time; each has an id, so no two are the same. With priorities, a queue is a sorted set with the
 * same key.
 */
export const huey: ListSystem = {
  kind: "huey",
  title: "Huey",
  pushedAt: "left",
  areDistinct: true,
  scoreMs: 1_000,
  look: readFileSync(new URL("../lua/look-huey.lua", import.meta.url), "utf8"),
  parameters: [],
  open: () => ({
    argument: "",
    keysOf: (queue) => ({
      lists: [`${prefix}${queue}`],
      // By the local time of the producer, whose time zone is not known.
      sets: [{ key: `huey.schedule.${queue}`, before: "scheduled", waitsAfter: null }],
      pauses: [],
    }),
    listed: async () => [],
    scan: {
      pattern: `${escapeGlob(prefix)}*`,
      type: null,
      queuesOf: async (_, keys) => keys.map((key) => key.slice(prefix.length)),
    },
    emptyHint: `no key is named ${prefix}NAME; ?queues= names queues`,
  }),
};
