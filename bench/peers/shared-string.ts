/** The least fan-out there is: a posted body is sent, as one string, to every WebSocket. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { WebSocketServer } from "ws";

const server = createServer(async (request, response) => {
  const message = await text(request);
  for (const socket of sockets.clients) socket.send(message);
  response.writeHead(204).end();
}).listen(0, "127.0.0.1");
const sockets = new WebSocketServer({ server });
await once(server, "listening");
console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
