import { chargeOf, type MeasuredCost, measureCosts } from "../support/measure-costs.ts";
import type { RowGroup } from "../support/row.ts";
import { sayMedian } from "../support/say.ts";
import { median } from "../support/statistics.ts";

/** How many of the most expensive requests are shown. */
const shown = 5;

export const costRow: RowGroup = {
  rows: [
    {
      id: "13",
      title: "CPU time of the most expensive requests for each point that they cost",
      purpose:
        "That prices follow work: whatever a client may ask for its points, it makes the server work about as much.",
      how: "Some seventy requests that are allowed, from one queue to a page of 1,000 with aliases, a history of 1,000 steps and 1,000 events (bench/support/cost-rows.ts), are asked one after the other, each time for something else, of a server with the default settings, but for the rate limits. CPU time of the server and of Redis, less what they take when nothing is asked, divided by the points that the answer says; by its events where it records. Shown are the five that take most. The other side is `queueLatency` of one queue. `node bench/cost.ts` prints all of them, with those that are refused.",
    },
  ],
  async measure(plan) {
    const measured = await measureCosts({ rounds: plan.rounds });
    const [one, ...others] = measured.filter(({ answer }) => answer.error === null && chargeOf(answer) > 0);
    if (one === undefined) throw new Error("expected the price of one queue");
    const worst = others
      .toSorted((a, b) => median(microsPerPoint(b)) - median(microsPerPoint(a)))
      .slice(0, shown);
    const theirs = microsPerPoint(one);
    const lines = worst.map((each) => {
      const ours = microsPerPoint(each);
      const unit = each.answer.events > each.answer.points ? "event" : "point";
      return {
        ...{
          what: each.row.what,
          unit: `µs per ${unit}`,
          against: "queueLatency of one queue",
          ours,
          theirs,
        },
        wanted: { atMost: 5 },
        says: `${each.row.what}: ${sayMedian(ours)} µs of CPU for each ${unit}, ${chargeOf(each.answer)} in all; reading one queue takes ${sayMedian(theirs)} µs for its point.`,
      };
    });
    const notes = [`${others.length + 1} kinds of requests that cost something were measured.`];
    return [{ row: "13", lines, notes }];
  },
};

function microsPerPoint({ cpu, answer }: MeasuredCost): readonly number[] {
  return cpu.map(({ serverMs, redisMs }) => ((serverMs + redisMs) * 1_000) / chargeOf(answer));
}
