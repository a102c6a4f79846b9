import { setTimeout as delay } from "node:timers/promises";
import { sharedClockMs } from "./arrivals.ts";
import { openConnection, postOf } from "./http-connection.ts";

export interface TimedEvent {
  /** Of its queue, once the event counts. */
  readonly depth: number;
  /** When the answer was here that says that it does, in ms of the shared clock. */
  readonly acknowledgedAtMs: number;
}

export interface Timing {
  readonly url: string;
  readonly token: string;
  readonly queue: string;
  readonly events: number;
  /** Between two events, on average: from half of it to half as much again, so that no rhythm meets another one. */
  readonly gapMs: number;
}

/** Records jobs of one queue, one at a time, and writes down when each was acknowledged. Nothing else may change the queue. */
export async function timeEvents({ url, token, queue, events, gapMs }: Timing): Promise<TimedEvent[]> {
  const connection = await openConnection(url);
  const ask = async (query: string, variables: object) => {
    const { body } = await connection.ask(postOf(JSON.stringify({ query, variables }), token));
    return body.toString();
  };
  try {
    const now = await ask("query ($queue: String!) { queueLatency(queues: [$queue]) { depth } }", { queue });
    let depth = Number(/"depth":(\d+)/.exec(now)?.[1]);
    const timed: TimedEvent[] = [];
    for (let n = 0; n < events; n++) {
      await delay(gapMs * (0.5 + Math.random()));
      depth += 1;
      const said = await ask(
        "mutation ($events: [QueueEventInput!]!) { recordEvents(events: $events) { accepted } }",
        { events: [{ type: "ENQUEUED", queue, jobId: `timed-${depth}` }] },
      );
      if (!said.includes('"accepted":1')) throw new Error(`expected one accepted event, got ${said}`);
      timed.push({ depth, acknowledgedAtMs: sharedClockMs() });
    }
    return timed;
  } finally {
    connection.close();
  }
}
