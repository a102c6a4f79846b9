import type { ListSystem } from "../list-system.ts";

const defaultQueue = "arq:queue";
const healthCheck = ":health-check";

/**
 * arq. A queue is one sorted set by when its jobs are to run, whose key is its name; a job stays there while it runs. Workers write a
 * health check beside it, which shows what other queues there are.
 */
export const arq: ListSystem = {
  kind: "arq",
  title: "arq",
  pushedAt: "right",
  areDistinct: true,
  scoreMs: 1,
  look: "local function look() return nil end",
  parameters: [],
  open: () => ({
    argument: "",
    keysOf: (queue) => ({
      lists: [],
      sets: [{ key: queue, before: "scheduled", waitsAfter: true }],
      pauses: [],
    }),
    inProgress: "arq:in-progress:",
    async listed(redis) {
      return (await redis.exists(defaultQueue)) === 1 ? [defaultQueue] : [];
    },
    scan: {
      pattern: `*${healthCheck}`,
      type: "string",
      queuesOf: async (_, keys) => keys.map((key) => key.slice(0, -healthCheck.length)),
    },
    emptyHint: `there is no key ${defaultQueue}, nor NAME${healthCheck} of another queue's worker; ?queues= names queues`,
  }),
};
