import { setTimeout as delay } from "node:timers/promises";
import { type HttpConnection, openConnection } from "./http-connection.ts";

/** A request, and what its answer must be: a benchmark of wrong answers is worth nothing. */
export interface Question {
  /** All bytes of an HTTP request. */
  readonly request: Uint8Array;
  /** Null: any. */
  readonly status: number | null;
  /** A part of the answer. */
  readonly contains: string;
}

export interface Asked {
  /** How long each answer took, in ms, for each of the questions. */
  readonly tookMs: readonly (readonly number[])[];
  /** How long all of it took, in ms. */
  readonly wallMs: number;
}

interface Target {
  readonly url: string;
  readonly questions: readonly Question[];
  readonly connections: number;
  readonly forMs: number;
}

/**
 * On each connection one question after the other, each as soon as the one before it was answered. Connections share the
 * questions out: where there are a multiple of the connections, no two connections ask the same.
 */
export async function askInTurn({ url, questions, connections, forMs }: Target): Promise<Asked> {
  const prepared = prepare(questions);
  await using opened = await openConnections(url, connections);
  const startedAtMs = performance.now();
  await Promise.all(
    opened.all.map(async (connection, offset) => {
      for (let n = offset; performance.now() - startedAtMs < forMs; n += connections) {
        await prepared.ask(n % questions.length, connection);
      }
    }),
  );
  return { tookMs: prepared.tookMs, wallMs: performance.now() - startedAtMs };
}

/**
 * This number of questions a second, in turn, whether the ones before were answered or not, as independent clients do.
 * A question that finds every connection taken waits for one, and its time counts from when it was to be asked.
 */
export async function askAtRate({
  url,
  questions,
  connections,
  forMs,
  perSecond,
}: Target & { readonly perSecond: number }): Promise<Asked> {
  const prepared = prepare(questions);
  await using opened = await openConnections(url, connections);
  const free = [...opened.all];
  const waiting: ((connection: HttpConnection) => void)[] = [];
  const asking: Promise<void>[] = [];

  async function askOne(n: number): Promise<void> {
    const askedAtMs = performance.now();
    const connection = free.pop() ?? (await new Promise<HttpConnection>((resolve) => waiting.push(resolve)));
    await prepared.ask(n % questions.length, connection, askedAtMs);
    const next = waiting.shift();
    if (next === undefined) free.push(connection);
    else next(connection);
  }

  const count = Math.round((forMs / 1_000) * perSecond);
  const startedAtMs = performance.now();
  while (asking.length < count) {
    const dueCount = Math.min(count, ((performance.now() - startedAtMs) / 1_000) * perSecond);
    while (asking.length < dueCount) asking.push(askOne(asking.length));
    await delay(1);
  }
  await Promise.all(asking);
  return { tookMs: prepared.tookMs, wallMs: performance.now() - startedAtMs };
}

function prepare(questions: readonly Question[]): {
  readonly tookMs: number[][];
  ask(which: number, connection: HttpConnection, sinceMs?: number): Promise<void>;
} {
  const tookMs: number[][] = questions.map(() => []);
  return {
    tookMs,
    async ask(which, connection, sinceMs = performance.now()) {
      const { request, status: wanted, contains } = questions[which] as Question;
      const { status, body } = await connection.ask(request);
      tookMs[which]?.push(performance.now() - sinceMs);
      if ((wanted !== null && status !== wanted) || !body.includes(contains)) {
        throw new Error(
          `expected ${wanted ?? "an answer"} with ${contains}, got ${status}: ${body.toString().slice(0, 500)}`,
        );
      }
    },
  };
}

async function openConnections(
  url: string,
  count: number,
): Promise<AsyncDisposable & { readonly all: readonly HttpConnection[] }> {
  const all = await Promise.all(Array.from({ length: count }, () => openConnection(url)));
  return {
    all,
    async [Symbol.asyncDispose]() {
      for (const connection of all) connection.close();
    },
  };
}
