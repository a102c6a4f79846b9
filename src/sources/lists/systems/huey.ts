import { escapeGlob, type ListSystem } from "../list-system.ts";

const prefix = "huey.redis.";

/** Huey on Redis. Tasks are pickles without a time; each has an id, so no two are the same. */
export const huey: ListSystem = {
  kind: "huey",
  title: "Huey",
  pushedAt: "left",
  areDistinct: true,
  scoreMs: 1_000,
  look: "local function look() return nil end",
  parameters: [],
  open: () => ({
    argument: "",
    keysOf: (queue) => ({ lists: [`${prefix}${queue}`], sets: [], pauses: [] }),
    listed: async () => [],
    scan: {
      pattern: `${escapeGlob(prefix)}*`,
      type: "list",
      queuesOf: async (_, keys) => keys.map((key) => key.slice(prefix.length)),
    },
    emptyHint: `no list is named ${prefix}NAME; ?queues= names queues`,
  }),
};
