import { once } from "node:events";
import { createServer, type IncomingMessage, request } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";

export interface PathProxyOptions {
  /** Such as `http://127.0.0.1:4000`. */
  readonly target: string;
  /** The only path that is passed on, such as `/queues`. */
  readonly path: string;
  /** Whether the path is taken away, as nginx does with `proxy_pass http://target/;`. */
  readonly strips: boolean;
}

/** A reverse proxy as nginx is one: under a path, with streams and WebSockets, and with the Host that it was asked for. */
export async function startPathProxy(
  options: PathProxyOptions,
): Promise<AsyncDisposable & { readonly url: string }> {
  const { hostname, port } = new URL(options.target);
  const sockets = new Set<Socket>();
  const targetOf = ({ url = "" }: IncomingMessage) =>
    url.startsWith(`${options.path}/`) ? (options.strips ? url.slice(options.path.length) : url) : null;

  const proxy = createServer((from, to) => {
    const path = targetOf(from);
    if (path === null) {
      to.writeHead(404).end();
      return;
    }
    const { method, headers } = from;
    const passed = request({ hostname, port, path, method, headers }, (answer) => {
      to.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(to);
    });
    passed.on("error", () => to.destroy());
    to.on("close", () => passed.destroy());
    from.pipe(passed);
  });
  proxy.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  proxy.on("upgrade", (from: IncomingMessage, near: Socket) => {
    const far = connect(Number(port), hostname);
    const headers = from.rawHeaders.flatMap((text, i, all) =>
      i % 2 === 0 ? [`${text}: ${all[i + 1]}`] : [],
    );
    far.write(`GET ${targetOf(from)} HTTP/1.1\r\n${headers.join("\r\n")}\r\n\r\n`);
    for (const [a, b] of [
      [near, far],
      [far, near],
    ] as const) {
      a.on("error", () => b.destroy());
      a.once("close", () => b.destroy());
      a.pipe(b);
    }
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return {
    url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      proxy.close();
      for (const socket of sockets) socket.destroy();
      await once(proxy, "close");
    },
  };
}
