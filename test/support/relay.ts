import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A TCP port that passes everything on to another one, counts who is connected, and fails as networks do. */
export interface Relay extends AsyncDisposable {
  /** The URL of where it leads to, with its own port in it. */
  readonly url: string;
  /** How many connections are open now, as their clients see it: one that its client has ended is not. */
  readonly open: number;
  /** The most that were open at any one time; begins anew with `countAnew()`. */
  readonly maxOpen: number;
  countAnew(): void;
  /**
   * Of the connections that are open now, nothing passes any more that goes there, or comes back: they look alive for ever.
   * @param saying only of those over which this text was sent, within the first 4 KB.
   */
  strand(direction: "there" | "back", saying?: string): void;
  /** Everything takes this number of ms longer from now on, each way. */
  slowDown(ms: number): void;
  /** From now on each answer that is longer is cut there, and its connection with it. */
  truncate(bytes: number): void;
  /** Connections that are opened from now on lead there; those that are open stay. */
  redirect(target: string): void;
  /** Cuts all connections. */
  cut(): void;
}

interface Connection {
  readonly near: Socket;
  readonly far: Socket;
  said: string;
  readonly stranded: Set<"there" | "back">;
}

export async function startRelay(target: string): Promise<Relay> {
  let { hostname, port } = new URL(target);
  const connections = new Set<Connection>();
  /** Without those whose clients have ended them: the server may take longer to notice than another client to connect. */
  const open = new Set<Connection>();
  let maxOpen = 0;
  let delayMs = 0;
  let maxBytes = Number.POSITIVE_INFINITY;

  function pass(connection: Connection, direction: "there" | "back"): void {
    const later = inOrder(() => delayMs);
    const [from, to] =
      direction === "there" ? [connection.near, connection.far] : [connection.far, connection.near];
    from.on("error", () => to.destroy());
    from.once("close", () => {
      connections.delete(connection);
      open.delete(connection);
      // What was on its way still arrives.
      later(() => to.destroy());
    });
    from.on("data", (chunk) => {
      if (direction === "there" && connection.said.length < 4_096) connection.said += String(chunk);
      later(() => {
        if (connection.stranded.has(direction)) return;
        if (direction === "back" && chunk.length > maxBytes) {
          to.end(chunk.subarray(0, maxBytes));
          from.destroy();
          return;
        }
        if (to.write(chunk)) return;
        from.pause();
        to.once("drain", () => from.resume());
      });
    });
    from.once("end", () => {
      if (direction === "there") open.delete(connection);
      later(() => !connection.stranded.has(direction) && to.end());
    });
  }
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ port: Number(port), host: hostname, allowHalfOpen: true });
    const connection: Connection = { near, far, said: "", stranded: new Set() };
    connections.add(connection);
    open.add(connection);
    maxOpen = Math.max(maxOpen, open.size);
    pass(connection, "there");
    pass(connection, "back");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = new URL(target);
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;

  function cut(): void {
    for (const { near, far } of connections) {
      near.destroy();
      far.destroy();
    }
  }
  return {
    url: url.href,
    get open() {
      return open.size;
    },
    get maxOpen() {
      return maxOpen;
    },
    countAnew() {
      maxOpen = open.size;
    },
    strand(direction, saying = "") {
      for (const { said, stranded } of connections) if (said.includes(saying)) stranded.add(direction);
    },
    slowDown(ms) {
      delayMs = ms;
    },
    truncate(bytes) {
      maxBytes = bytes;
    },
    redirect(newTarget) {
      ({ hostname, port } = new URL(newTarget));
    },
    cut,
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      cut();
      await closed;
    },
  };
}

/** Does each thing this number of ms later, and none before those that were to be done before. */
function inOrder(delayMs: () => number): (act: () => void) => void {
  const queue: (() => void)[] = [];
  let lastAtMs = 0;
  return (act) => {
    const now = performance.now();
    lastAtMs = Math.max(lastAtMs, now + delayMs());
    if (queue.length === 0 && lastAtMs <= now) return act();
    queue.push(act);
    // Whichever timer is the first to go off does what is first to be done.
    setTimeout(() => queue.shift()?.(), lastAtMs - now);
  };
}
