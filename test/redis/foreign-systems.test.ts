import { expect, test } from "vitest";
import { urlSetting } from "../../src/settings/source-kinds.ts";
import { jobSystemKeys, watchJobSystem } from "../support/job-systems.ts";
import { sourceRedis } from "../support/source-redis.ts";
import { eventually } from "../support/watched-source.ts";

test.each(jobSystemKeys)("a source that finds $kind in place of its own says so", async (there) => {
  const { url, at } = await sourceRedis();
  await there.addQueue(at, "mail");
  const others = jobSystemKeys.filter(({ kind }) => kind !== there.kind);
  const watched = await Promise.all(others.map((other) => watchJobSystem(other, url)));
  for (const { log } of watched) {
    const line = await eventually(() => {
      const found = log.find(({ message }) => message === "no queues found");
      expect(found).toBeDefined();
      return found;
    });
    const why = String(line?.fields.err);
    const settings = [...why.matchAll(/\b([A-Z]+_URL)\b/g)].map(([, setting]) => setting);
    // BullMQ's says in any case which one is for Bull.
    const named = new Set(settings.filter((each) => each !== "BULL_URL" || there.kind === "bull"));
    expect({ why, named: [...named] }).toEqual({ why, named: [urlSetting(there.kind)] });
  }
});

test.each([
  {
    acl: [],
    says: "this database has no keys of another job system",
    why: "all keys were looked at",
  },
  {
    acl: ["-scan"],
    says: "no keys of another job system were found among those that could be looked at",
    why: "SCAN is refused",
  },
  {
    acl: ["-scan", "resetkeys", "~asynq:*", "~session:*"],
    says: "no keys of another job system were found among those that could be looked at",
    why: "other keys are refused, too",
  },
])("a database without keys of a job system: $says ($why)", async ({ acl, says }) => {
  const { url, at } = await sourceRedis();
  await at.set("session:1", "x");
  await at.acl("SETUSER", "default", ...acl);
  const asynq = jobSystemKeys.find(({ kind }) => kind === "asynq");
  if (asynq === undefined) throw new Error("expected asynq");
  const watched = await watchJobSystem(asynq, url);
  const { fields } = await watched.logged("no queues found");
  expect(fields.err).toContain(says);
});
