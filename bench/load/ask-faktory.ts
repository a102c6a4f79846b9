import { Client } from "faktory-worker";
import { Connection } from "faktory-worker/lib/connection.js";

export interface AskingFaktory {
  readonly url: string;
  /** Of queues, in turn. */
  readonly lists: readonly (readonly string[])[];
  readonly forMs: number;
}

/** `QUEUE LATENCY` over one connection, one after the other. @returns how long each answer took, in ms. */
export async function askFaktory({ url, lists, forMs }: AskingFaktory): Promise<number[]> {
  const { hostname, port } = new URL(url);
  const connection = new Connection(port, hostname);
  // Its pool, which would only add to what is measured, opens nothing.
  await new Client({ url, poolSize: 1 }).handshake(connection, await connection.open());
  const tookMs: number[] = [];
  const startedAtMs = performance.now();
  try {
    for (let n = 0; performance.now() - startedAtMs < forMs; n++) {
      const queues = lists[n % lists.length] ?? [];
      const askedAtMs = performance.now();
      const answer = await connection.send(["QUEUE", "LATENCY", ...queues]);
      tookMs.push(performance.now() - askedAtMs);
      if (!answer.includes(`"${queues.at(-1)}":`)) throw new Error(`expected latencies, got ${answer}`);
    }
  } finally {
    connection.socket.destroy();
  }
  return tookMs;
}
