import { describe, expect, test } from "vitest";
import {
  lastRanges,
  paramsOf,
  rangeOf,
  rangeProblem,
  requestsOf,
  stepRangeOf,
} from "../../src/dashboard/queue/range.ts";

const nowMs = Date.parse("2026-11-23T12:00:00Z");
const hour = 3_600_000;

describe("the range of the charts", () => {
  const cases: readonly [why: string, query: string, expected: string][] = [
    ["is an hour where the address names none", "", "1h"],
    ["is the one that is named", "range=90d", "90d"],
    ["is an hour where the name is unknown", "range=5y", "1h"],
    ["is between two instants", "from=2026-11-23T08:00Z&to=2026-11-23T09:30Z", "90 minutes"],
    ["takes offsets of other time zones", "from=2026-11-23T08:00%2B02:00&to=2026-11-23T07:00Z", "60 minutes"],
    ["is an hour where the end is before the start", "from=2026-11-23T09:00Z&to=2026-11-23T08:00Z", "1h"],
    ["is an hour where an instant is none", "from=yesterday&to=2026-11-23T08:00Z", "1h"],
    ["is an hour where it is longer than a year", "from=1970-01-01&to=2026-11-23", "1h"],
  ];
  test.each(cases)("%s", (_, query, expected) => {
    const range = rangeOf(new URLSearchParams(query));
    const found = range.last === null ? `${(range.toMs - range.fromMs) / 60_000} minutes` : range.last.name;
    expect(found).toBe(expected);
  });

  test("comes back from the address as it was", () => {
    const own = { last: null, fromMs: nowMs - 12_345_000, toMs: nowMs };
    for (const range of [...lastRanges.map((last) => ({ last })), own]) {
      const changes = Object.entries(paramsOf(range)).flatMap(([name, value]) =>
        value === null ? [] : [[name, value]],
      );
      expect(rangeOf(new URLSearchParams(changes))).toEqual(range);
    }
  });

  test("is refused when it is none, with what to do", () => {
    expect(rangeProblem(Number.NaN, nowMs)).toBe("Give both times.");
    expect(rangeProblem(nowMs, nowMs)).toContain("before");
    expect(rangeProblem(nowMs - 400 * 24 * hour, nowMs)).toContain("year");
    expect(rangeProblem(nowMs - hour, nowMs)).toBe(null);
  });
});

describe("the steps of a range", () => {
  const cases: readonly [why: string, fromHoursAgo: number, toHoursAgo: number, step: string][] = [
    ["are of ten seconds where these are kept", 5, 4, "TEN_SECONDS"],
    ["are of ten seconds for all six hours that they are kept", 6, 0, "TEN_SECONDS"],
    ["are of a minute where ten seconds are not kept any more", 7, 6.5, "ONE_MINUTE"],
    ["are of a minute for all the time that these are kept", 48, 0, "ONE_MINUTE"],
    ["are of an hour before that", 50, 49, "ONE_HOUR"],
  ];
  test.each(cases)("%s", (_, fromHoursAgo, toHoursAgo, step) => {
    const range = { last: null, fromMs: nowMs - fromHoursAgo * hour, toMs: nowMs - toHoursAgo * hour };
    expect(stepRangeOf(range, nowMs)).toEqual({ fromMs: range.fromMs, toMs: range.toMs, step });
  });

  test("are asked for in requests of at most 1,000 each, without a step in two of them", () => {
    const stepsMs = { TEN_SECONDS: 10_000, ONE_MINUTE: 60_000, ONE_HOUR: hour };
    for (const last of lastRanges) {
      const range = stepRangeOf({ last }, nowMs);
      const requests = requestsOf(range);
      for (const { fromMs, toMs, step } of requests) {
        expect((toMs - fromMs) / stepsMs[step]).toBeLessThanOrEqual(1_000);
      }
      expect(requests[0]?.fromMs).toBe(range.fromMs);
      expect(requests.at(-1)?.toMs).toBe(range.toMs);
      requests.slice(1).forEach(({ fromMs }, i) => {
        expect(fromMs).toBe(requests[i]?.toMs);
      });
      expect(requests.length).toBeLessThanOrEqual(3);
    }
  });
});
