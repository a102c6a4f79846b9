import type { TestProject } from "vitest/node";
import { buildDashboard } from "../script/build-dashboard.ts";
import { startRedis, type TestRedis } from "./support/redis.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** The Redis that all tests of a run share: keep apart by `uniquePrefix()`, and never flush it. */
    redisUrl: string;
  }
}

let redis: TestRedis | undefined;

export async function setup(project: TestProject): Promise<void> {
  await buildDashboard();
  redis = await startRedis();
  project.provide("redisUrl", redis.url);
}

export async function teardown(): Promise<void> {
  await redis?.stop();
}
