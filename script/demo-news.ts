import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import { setTimeout as sleep } from "node:timers/promises";

export interface NewsOptions {
  /** Of GraphQL. */
  readonly url: string;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

interface Push {
  readonly data?: { readonly alertChanged: AlertNews };
}

interface AlertNews {
  readonly rule: string;
  readonly queue: string;
  readonly state: string;
}

const retryMs = 1_000;
const query = "subscription { alertChanged { rule queue state } }";

/** Says of every alert that it fires, and that it has ended, as the server's subscription tells it; until it is ended. */
export async function tellAlerts({ url, signal, say }: NewsOptions): Promise<void> {
  /** What is FIRING is told again whenever the subscription begins. */
  const firing = new Set<string>();

  function hear({ rule, queue, state }: AlertNews): void {
    const name = `${rule} of ${queue}`;
    if (state === "FIRING" && !firing.has(name)) say(`Alert: ${name} fires.`);
    if (state === "RESOLVED" && firing.has(name)) say(`Alert: ${name} has ended.`);
    if (state === "FIRING") firing.add(name);
    else firing.delete(name);
  }

  while (!signal.aborted) {
    // A server that is away is told of by whoever sends it events.
    await watch(url, signal, hear).catch(() => undefined);
    await sleep(retryMs, undefined, { signal }).catch(() => undefined);
  }
}

async function watch(url: string, signal: AbortSignal, hear: (news: AlertNews) => void): Promise<void> {
  const { body } = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream" },
    body: JSON.stringify({ query }),
    signal,
  });
  if (body === null) return;
  const input = Readable.fromWeb(body as ReadableStream);
  for await (const line of createInterface({ input })) {
    if (!line.startsWith("data: ")) continue;
    const { data } = JSON.parse(line.slice("data: ".length)) as Push;
    if (data !== undefined) hear(data.alertChanged);
  }
}
