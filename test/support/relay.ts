import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A TCP port that passes everything on to another one, and counts who is connected. */
export interface Relay extends AsyncDisposable {
  /** The URL of where it leads to, with its own port in it. */
  readonly url: string;
  /** How many connections are open now. */
  readonly open: number;
  /** The most that were open at any one time; begins anew with `countAnew()`. */
  readonly mostOpen: number;
  countAnew(): void;
}

export async function startRelay(target: string): Promise<Relay> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  let open = 0;
  let mostOpen = 0;
  const server = createServer((near) => {
    const far = connect(Number(port), hostname);
    mostOpen = Math.max(mostOpen, ++open);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on("error", () => to.destroy());
      from.once("close", () => {
        sockets.delete(from);
        to.destroy();
      });
      from.pipe(to);
    }
    near.once("close", () => open--);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = new URL(target);
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: url.href,
    get open() {
      return open;
    },
    get mostOpen() {
      return mostOpen;
    },
    countAnew() {
      mostOpen = open;
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
