/** The same answer from Node's own server with nothing between: names are taken from the request, Redis is read, JSON is written. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createQueueReader } from "./read-queues.ts";

const readQueues = createQueueReader(process.env.REDIS_URL ?? "");
const server = createServer((request, response) => {
  const parts: Buffer[] = [];
  request.on("data", (bytes: Buffer) => parts.push(bytes));
  request.on("end", async () => {
    try {
      const queues = request.method === "GET" ? namesInUrl(request.url ?? "") : namesIn(Buffer.concat(parts));
      const queueLatency = await readQueues(queues);
      response.writeHead(200, { "content-type": "application/json; charset=utf-8" });
      response.end(JSON.stringify({ data: { queueLatency } }));
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  });
}).listen(0, "127.0.0.1");
await once(server, "listening");
console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);

function namesIn(body: Buffer): readonly string[] {
  return JSON.parse(body.toString()).variables.queues;
}

/** The list in the document of a GET. */
function namesInUrl(url: string): readonly string[] {
  const document = new URLSearchParams(url.slice(url.indexOf("?") + 1)).get("query") ?? "";
  return JSON.parse(document.slice(document.indexOf("["), document.indexOf("]") + 1));
}
