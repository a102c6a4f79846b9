import { readFileSync } from "node:fs";
import { type ListSystem, membersOf } from "../list-system.ts";

const defaultNamespace = "resque";

/** Resque. Of a plain job only the class and the arguments are known, so two may be the same; ActiveJob adds ids and a time. */
export const resque: ListSystem = {
  kind: "resque",
  title: "Resque",
  pushedAt: "right",
  areDistinct: false,
  scoreMs: 1_000,
  look: readFileSync(new URL("../lua/look-resque.lua", import.meta.url), "utf8"),
  parameters: ["namespace"],
  open(parameters) {
    const namespace = parameters.get("namespace") ?? defaultNamespace;
    return {
      argument: "",
      keysOf: (queue) => ({
        lists: [`${namespace}:queue:${queue}`],
        sets: [],
        pauses: [`${namespace}:pause-all-workers`],
      }),
      listed: (redis, max) => membersOf(redis, `${namespace}:queues`, max),
      scan: null,
      emptyHint: `there is no set ${namespace}:queues; ?namespace= sets another namespace`,
    };
  },
};
