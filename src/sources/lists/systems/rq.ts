import { readFileSync } from "node:fs";
import { type ListSystem, membersOf } from "../list-system.ts";

const queuePrefix = "rq:queue:";

/** RQ 1 and 2. A list holds ids of jobs, and each job is a hash with the time at which it was enqueued last. */
export const rq: ListSystem = {
  kind: "rq",
  title: "RQ",
  pushedAt: "right",
  areDistinct: true,
  scoreMs: 1_000,
  look: readFileSync(new URL("../lua/look-rq.lua", import.meta.url), "utf8"),
  parameters: [],
  open: () => ({
    argument: "",
    keysOf: (queue) => ({
      lists: [`${queuePrefix}${queue}`],
      sets: [
        { key: `rq:scheduled:${queue}`, before: "scheduled", waitsAfter: true },
        // Until they are taken for lost.
        { key: `rq:wip:${queue}`, before: "inFlight", waitsAfter: false },
      ],
      pauses: ["rq:suspended"],
    }),
    async listed(redis, max) {
      const keys = await membersOf(redis, "rq:queues", max);
      return keys.map((key) => key.replace(queuePrefix, ""));
    },
    scan: null,
    emptyHint: "there is no set rq:queues",
  }),
};
