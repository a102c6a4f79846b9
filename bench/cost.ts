/**
 * What requests take of the server and of Redis for each point that they cost, the most expensive first, and for how long each holds the
 * event loop. Prices follow this table: nothing that is allowed may take more than five times as much for a point as reading one
 * queue does, and nothing may hold the event loop for more than 50 ms. `node bench/cost.ts [WORD]` measures all rows, or those
 * with the word in their name; it starts a redis-server and a server with the default settings, but for the rate limits.
 *
 * All times are CPU time, in ms of a core: what others do on the machine hardly counts. Of the processes, less what they take when
 * nothing is asked, the median of several rounds; of the hold, which is measured in rounds of its own, the median of the longest.
 */
import { chargeOf, type MeasuredCost, measureCosts } from "./support/measure-costs.ts";
import { median } from "./support/statistics.ts";

const measured = await measureCosts({
  rounds: 5,
  word: process.argv[2] ?? "",
  onRow: (what) => process.stderr.write(`${what}\n`),
});

const serverMs = ({ cpu }: MeasuredCost) => median(cpu.map((each) => each.serverMs));
const redisMs = ({ cpu }: MeasuredCost) => median(cpu.map((each) => each.redisMs));
const perPoint = (each: MeasuredCost) => (serverMs(each) + redisMs(each)) / chargeOf(each.answer);
const [one] = measured;
if (one === undefined) throw new Error("no row was measured");
console.table(
  Object.fromEntries(
    measured
      .toSorted((a, b) => perPoint(b) - perPoint(a))
      .map((each) => [
        each.row.what,
        {
          "server, ms": serverMs(each).toFixed(2),
          "Redis, ms": redisMs(each).toFixed(2),
          points: each.answer.points,
          events: each.answer.events,
          "µs a point": Number.isFinite(perPoint(each)) ? (1_000 * perPoint(each)).toFixed(0) : "free",
          "÷ one queue": Number.isFinite(perPoint(each)) ? (perPoint(each) / perPoint(one)).toFixed(2) : "",
          "hold, ms": median(each.holdMs).toFixed(0),
          KB: (each.answer.bytes / 1_000).toFixed(0),
          refused: each.answer.error ?? "",
        },
      ]),
  ),
);
