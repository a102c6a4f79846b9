import { readFileSync } from "node:fs";
import { escapeGlob, type ListSystem } from "../list-system.ts";

const defaultPrefix = "laravel_database_";
const suffixes = /:(delayed|reserved|notify)$/;

/** Laravel's queues on Redis, and Horizon's. Jobs that are due, or whose worker has died, lie in sorted sets until a worker looks. */
export const laravel: ListSystem = {
  kind: "laravel",
  title: "Laravel",
  pushedAt: "right",
  areDistinct: true,
  scoreMs: 1_000,
  look: readFileSync(new URL("../lua/look-laravel.lua", import.meta.url), "utf8"),
  parameters: ["prefix"],
  open(parameters) {
    const prefix = `${parameters.get("prefix") ?? defaultPrefix}queues:`;
    return {
      argument: "",
      keysOf: (queue) => ({
        lists: [`${prefix}${queue}`],
        sets: [
          { key: `${prefix}${queue}:delayed`, before: "scheduled", waitsAfter: true },
          { key: `${prefix}${queue}:reserved`, before: "inFlight", waitsAfter: true },
        ],
        pauses: [],
      }),
      listed: async () => [],
      scan: {
        pattern: `${escapeGlob(prefix)}*`,
        type: null,
        queuesOf: async (_, keys) => keys.map((key) => key.slice(prefix.length).replace(suffixes, "")),
      },
      emptyHint: `no key is named ${prefix}NAME; ?prefix= sets the prefix of the connection, ?queues= names queues`,
    };
  },
};
