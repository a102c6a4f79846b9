import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { uniquePrefix } from "../support/redis.ts";
import { ask, startApp } from "../support/server.ts";

type Record = (url: string, events: readonly object[]) => Promise<{ readonly accepted: number }>;

let directory: string;
let record: Record;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "queue-latency-"));
  const text = await readFile(new URL("../../docs/recording-events.md", import.meta.url), "utf8");
  const codes = [...text.matchAll(/```js\n(.*?)```/gs)].map(([, code = ""]) => code);
  const code = codes.find((each) => each.includes("function record(")) ?? "";
  const file = join(directory, "record.mjs");
  await writeFile(file, code);
  ({ record } = (await import(file)) as { record: Record });
});
afterAll(() => rm(directory, { recursive: true }));

/** Stands before a server, and does something else with the first requests. */
async function startFront(url: string, first: readonly ("lose the answer" | 429 | 503)[]) {
  const left = [...first];
  const bodies: string[] = [];
  const front = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks).toString();
    bodies.push(body);
    const next = left.shift();
    if (typeof next === "number") {
      response.writeHead(next, { "retry-after": "0" }).end("not GraphQL");
      return;
    }
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${url}/graphql`, { method: "POST", headers, body });
    const text = await answer.text();
    if (next === "lose the answer") response.destroy();
    else response.writeHead(answer.status, headers).end(text);
  });
  await new Promise<void>((resolve) => front.listen(0, "127.0.0.1", resolve));
  const { port } = front.address() as { readonly port: number };
  return {
    url: `http://127.0.0.1:${port}/graphql`,
    bodies,
    async [Symbol.asyncDispose]() {
      front.closeAllConnections();
      await new Promise((resolve) => front.close(resolve));
    },
  };
}

test("the producer of docs/recording-events.md records each event once, whatever becomes of its answers", async () => {
  await using app = await startApp({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() });
  await using front = await startFront(app.url, [503, "lose the answer", 429]);
  const at = new Date().toISOString();
  const events = ["1", "2"].map((jobId) => ({ type: "ENQUEUED", queue: "mail", jobId, at }));
  expect(await record(front.url, [...events, { ...events[0], queue: "" }])).toEqual({
    accepted: 2,
    duplicates: 0,
    rejected: [{ eventIndex: 2, field: "queue", reason: "a queue's name must not be empty" }],
  });
  expect(front.bodies).toHaveLength(4);
  expect(new Set(front.bodies).size).toBe(1);
  const { body } = await ask(app.url, `{ queueLatency(queues: ["mail"]) { depth } }`);
  expect(body.data.queueLatency).toEqual([{ depth: 2 }]);
});

test("it does not send again what is refused", async () => {
  await using app = await startApp({
    REDIS_URL: inject("redisUrl"),
    KEY_PREFIX: uniquePrefix(),
    MAX_EVENTS: "1",
  });
  await using front = await startFront(app.url, []);
  const event = { type: "ENQUEUED", queue: "mail", jobId: "1" };
  await expect(record(front.url, [event, event])).rejects.toThrow("BAD_USER_INPUT");
  expect(front.bodies).toHaveLength(1);
});
