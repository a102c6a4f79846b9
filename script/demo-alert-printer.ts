import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import { setTimeout as sleep } from "node:timers/promises";

export interface AlertPrinterOptions {
  /** Of GraphQL. */
  readonly url: string;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

interface Push {
  readonly data?: { readonly alertChanged: ChangedAlert };
}

interface ChangedAlert {
  readonly rule: string;
  readonly queue: string | null;
  readonly state: string;
}

const retryMs = 1_000;
const query = "subscription { alertChanged { rule queue state } }";

/** Prints when an alert fires and when it has ended, from the server's subscription, until the signal is aborted. */
export async function printAlerts({ url, signal, say }: AlertPrinterOptions): Promise<void> {
  /** The subscription begins with all alerts that are FIRING. */
  const firing = new Set<string>();

  function print({ rule, queue, state }: ChangedAlert): void {
    const name = queue === null ? rule : `${rule} of ${queue}`;
    if (state === "FIRING" && !firing.has(name)) say(`Alert: ${name} fires.`);
    if (state === "RESOLVED" && firing.has(name)) say(`Alert: ${name} has ended.`);
    if (state === "FIRING") firing.add(name);
    else firing.delete(name);
  }

  while (!signal.aborted) {
    // The driver of the demo reports a server that is away.
    await watch(url, signal, print).catch(() => undefined);
    await sleep(retryMs, undefined, { signal }).catch(() => undefined);
  }
}

async function watch(url: string, signal: AbortSignal, print: (alert: ChangedAlert) => void): Promise<void> {
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
    if (data !== undefined) print(data.alertChanged);
  }
}
