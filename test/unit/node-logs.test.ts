import { expect, test } from "vitest";
import { createNodeLogs } from "../../src/redis/cluster.ts";

test("nodes that a cluster does not list any more are forgotten, and their trouble ends", () => {
  const ended: string[] = [];
  const logs = createNodeLogs((name) => ({ failed: () => {}, recovered: () => void ended.push(name) }));
  const [gone, dead, master] = ["10.0.0.1:6379", "10.0.0.2:6379", "10.0.0.3:6379"].map((name) => {
    logs.of(name);
    return name;
  }) as [string, string, string];
  // A master that has just died is listed, and its trouble goes on over several connections.
  const log = logs.of(dead);
  logs.keep(new Set([dead, master]), new Set([dead, master]));
  expect(logs.of(dead)).toBe(log);
  expect(ended).toEqual([gone]);
  for (let i = 0; i < 1_000; i++) {
    logs.of(`10.1.0.${i}:6379`);
    logs.keep(new Set([master]), new Set([master]));
  }
  expect(logs.size).toBe(1);
});
