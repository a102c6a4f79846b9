import type { TestProject } from "vitest/node";
import { startCluster, type TestCluster } from "./support/cluster.ts";

let cluster: TestCluster | undefined;

/** The same as global-setup.ts, but for the project of tests that run against a Redis Cluster. */
export async function setup(project: TestProject): Promise<void> {
  cluster = await startCluster();
  project.provide("redisUrl", cluster.url);
}

export async function teardown(): Promise<void> {
  await cluster?.stop();
}
