import { randomBytes, randomInt, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { createRandom, type DemoEvent, type QueuePlan, simulate } from "./demo-model.ts";

export interface DriverOptions {
  /** Of GraphQL. */
  readonly url: string;
  readonly plans: readonly QueuePlan[];
  /** Ends it, after the request that is under way. */
  readonly signal: AbortSignal;
  /** Called when the server does not answer, and when it does again. */
  readonly say: (line: string) => void;
  /** Called when what the queues went through before now has been recorded. */
  readonly begun: () => void;
}

/** What the queues went through before the demo began, so that there is something to see at once. */
const historyMs = 90_000;
/** 4 mutations a second cost 240 of the 6000 points that a client has each minute, and the person has the same address. */
const intervalMs = 250;
const maxEventsAtOnce = 500;
/** After a longer silence, as of a laptop that slept, what was missed is not made up for. */
const maxLagMs = 60_000;
const retryMs = 1_000;
const timeoutMs = 10_000;

/**
 * Has simulated producers and workers record their jobs at a server, by its public mutation, as real ones would: in batches,
 * each of which is sent again, with its id, until the server has taken it.
 *
 * @throws Error when the server refuses what it is sent.
 */
export async function driveQueues(options: DriverOptions): Promise<void> {
  const { plans, signal } = options;
  let simulation = await startOver();
  if (!signal.aborted) options.begun();
  while (!signal.aborted) {
    await sleep(intervalMs, undefined, { signal }).catch(() => undefined);
    if (Date.now() - simulation.nowMs > maxLagMs) simulation = await startOver();
    await record(simulation.advance(Date.now()));
  }

  /** Jobs of the last run that still wait would wait for ever: only the server remembers them. */
  async function startOver() {
    for (const { queue } of plans) {
      await deliver({
        query: "mutation ($queue: String!) { forgetQueue(queue: $queue) }",
        variables: { queue },
      });
    }
    const nowMs = Date.now();
    const run = randomBytes(3).toString("hex");
    const random = createRandom(randomInt(2 ** 32));
    const started = simulate(plans, { startMs: nowMs - historyMs, random, run });
    await record(started.advance(nowMs));
    return started;
  }

  async function record(events: readonly DemoEvent[]): Promise<void> {
    for (let from = 0; from < events.length && !signal.aborted; from += maxEventsAtOnce) {
      const batch = events.slice(from, from + maxEventsAtOnce);
      await deliver({
        query:
          "mutation ($events: [QueueEventInput!]!, $batchId: ID!) { recordEvents(events: $events, batchId: $batchId) { accepted } }",
        variables: { events: batch, batchId: randomUUID() },
      });
    }
  }

  async function deliver(request: object): Promise<void> {
    for (let attempt = 1; !signal.aborted; attempt++) {
      const problem = await post(options.url, request);
      if (problem === null && attempt > 1) options.say("The server takes events again.");
      if (problem === null) return;
      if (attempt === 1)
        options.say(`The server takes no events, they are sent again until it does: ${problem}`);
      await sleep(retryMs, undefined, { signal }).catch(() => undefined);
    }
  }
}

interface GraphQLAnswer {
  readonly errors?: readonly { readonly message: string; readonly extensions?: { readonly code?: string } }[];
}

/** @returns why it may be sent again; null when all is well. @throws Error when sending it again would not help. */
async function post(url: string, request: object): Promise<string | null> {
  let answer: GraphQLAnswer;
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(request),
      signal: AbortSignal.timeout(timeoutMs),
    });
    answer = (await response.json()) as GraphQLAnswer;
  } catch (error) {
    return reasonOf(error);
  }
  const [error] = answer.errors ?? [];
  if (error === undefined) return null;
  if (["SERVICE_UNAVAILABLE", "THROTTLED"].includes(error.extensions?.code ?? "")) return error.message;
  throw new Error(`The server refuses the demo's events: ${error.message}`);
}

/** What fetch throws says no more than that it failed: its cause knows why. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message : error.message;
}
