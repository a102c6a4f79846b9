import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { startServer, type TestServer } from "./server.ts";

/** A server that can be killed and started again, behind one address. */
export interface RestartedServer extends AsyncDisposable {
  readonly url: string;
  /** Sends SIGKILL, and waits. */
  kill(): Promise<void>;
  start(): Promise<void>;
}

export async function startRestartedServer(env: Readonly<Record<string, string>>): Promise<RestartedServer> {
  let server: TestServer = await startServer(env);
  const sockets = new Set<Socket>();
  // The port stays ours between two servers.
  const front = createServer((near) => {
    const { hostname, port } = new URL(server.url);
    const far = connect(Number(port), hostname);
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => other.destroy());
      socket.once("close", () => {
        sockets.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  }).listen(0, "127.0.0.1");
  await once(front, "listening");
  return {
    url: `http://127.0.0.1:${(front.address() as AddressInfo).port}`,
    kill: () => server.kill(),
    async start() {
      server = await startServer(env);
    },
    async [Symbol.asyncDispose]() {
      front.close();
      for (const socket of sockets) socket.destroy();
      await server.kill();
    },
  };
}
