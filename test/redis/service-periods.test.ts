import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, inject, onTestFinished, test } from "vitest";
import { type ServicePeriods, servedSinceMs, withServed } from "../../src/core/service-periods.ts";
import { connectTo } from "../support/redis.ts";

const startMs = 1_790_000_000_000;
const lua = readFileSync(join(import.meta.dirname, "../../src/tracker/lua/includes/served.lua"), "utf8");

/** After each step: the earliest time, or '' where it is not known. */
const script = `${lua}
  local served, found = false, {}
  for i = 1, #ARGV, 3 do
    local now = tonumber(ARGV[i])
    served = withServed(served, now, tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2]))
    local since = servedSince(served, now)
    found[#found + 1] = since and string.format('%.0f', since) or ''
  end
  return found`;

/** Jobs that were dequeued some time after those before, or before them by a clock that was set back, having waited for so long. */
const steps = fc.array(
  fc.record({
    laterMs: fc.oneof(
      { weight: 4, arbitrary: fc.integer({ min: 0, max: 90_000 }) },
      { weight: 1, arbitrary: fc.integer({ min: -600_000, max: 0 }) },
    ),
    count: fc.integer({ min: 1, max: 4 }),
    waitMs: fc.integer({ min: -1_000, max: 600_000 }),
  }),
  { maxLength: 40 },
);

test("periods of service are the same here as in the tracker's scripts, whatever is dequeued and however the clock is set", async () => {
  const redis = connectTo(inject("redisUrl"));
  onTestFinished(() => redis.disconnect());
  const inScript = async (args: readonly (readonly number[])[]) =>
    (await redis.eval(script, 0, ...args.flat())) as string[];
  let known = 0;
  await fc.assert(
    fc.asyncProperty(steps, async (sequence) => {
      let nowMs = startMs;
      const args = sequence.map(({ laterMs, count, waitMs }) => {
        nowMs += laterMs;
        return [nowMs, count, nowMs - waitMs] as const;
      });
      let periods: ServicePeriods | null = null;
      const here = args.map(([atMs, count, oldestMs]) => {
        periods = withServed(periods, { nowMs: atMs, count, oldestMs });
        return String(servedSinceMs(periods, atMs) ?? "");
      });
      known += here.filter((since) => since !== "").length;
      expect(here).toEqual(await inScript(args));
    }),
    { numRuns: 300 },
  );
  expect(known).toBeGreaterThan(100);
});
