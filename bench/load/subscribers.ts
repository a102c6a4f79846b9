import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:net";
import { WebSocket } from "ws";
import { type Arrivals, createArrivals, type SeenAt } from "./arrivals.ts";
import { postOf } from "./http-connection.ts";
import { createResponseParser } from "./response-parser.ts";

export type Transport = "sse" | "websocket" | "plain websocket";

export interface Subscribing {
  /** What these subscribers are called from then on. */
  readonly name: string;
  /** A plain WebSocket sends nothing. */
  readonly transport: Transport;
  readonly url: string;
  /** Tokens of the subscribers, in turn. */
  readonly tokens: readonly string[];
  /** Each on a connection of its own. */
  readonly count: number;
  readonly query: string;
  /** Of each subscriber in turn: those with the same are a group. */
  readonly variables: readonly object[];
  /** Whose depth is looked at when events are timed. */
  readonly queue: string;
}

/** How many are connecting at a time: few enough for the bound on sockets without a token yet. */
const atOnce = 20;

interface Group {
  readonly arrivals: Arrivals;
  pushes: number;
  last: string;
}

const groups = new Map<string, Group>();

/** Resolves when each of them has what it subscribed to: how things stand. They are there as long as this process. */
export async function openSubscribers(options: Subscribing): Promise<void> {
  const { name, transport, tokens, count, queue } = options;
  const group: Group = { arrivals: createArrivals(queue, count), pushes: 0, last: "" };
  groups.set(name, group);
  let next = 0;
  const openSome = async () => {
    for (let i = next++; i < count; i = next++) {
      const first = Promise.withResolvers<void>();
      const onPush = (text: string) => {
        group.pushes += 1;
        group.last = text;
        group.arrivals.observe(i, text);
        // Only looked at once: errors come instead of a first push.
        if (text.includes('"errors"')) first.reject(new Error(`a subscriber got ${text}`));
        else first.resolve();
      };
      const { url, query, variables } = options;
      const token = tokens[i % tokens.length] ?? "";
      await open[transport](
        { url, token, query, variables: variables[i % variables.length] ?? {} },
        onPush,
        first.reject,
      );
      if (transport !== "plain websocket") await first.promise;
    }
  };
  await Promise.all(Array.from({ length: atOnce }, openSome));
}

/** How many pushes they have got in all, and the last of them. */
export function countPushes({ name }: { readonly name: string }): {
  readonly pushes: number;
  readonly last: string;
} {
  const { pushes, last } = groupOf(name);
  return { pushes, last };
}

/** The depth of the queue that each of them has seen. */
export function depthSeenByAll({ name }: { readonly name: string }): number {
  return groupOf(name).arrivals.seenByAll();
}

export function startTiming({ name }: { readonly name: string }): void {
  groupOf(name).arrivals.begin();
}

export function stopTiming({ name }: { readonly name: string }): SeenAt {
  return groupOf(name).arrivals.end();
}

function groupOf(name: string): Group {
  const group = groups.get(name);
  if (group === undefined) throw new Error(`expected subscribers called ${name}`);
  return group;
}

interface Subscription {
  readonly url: string;
  readonly token: string;
  readonly query: string;
  readonly variables: object;
}

type Open = (
  subscription: Subscription,
  onPush: (text: string) => void,
  fail: (error: Error) => void,
) => Promise<void>;

/** Each resolves when it is connected, and from then on calls `onPush` with every push. */
const open: Readonly<Record<Transport, Open>> = {
  async sse({ url, token, query, variables }, onPush, fail) {
    const { hostname, port } = new URL(url);
    const socket = connect({ host: hostname, port: Number(port), noDelay: true });
    let text = "";
    const parser = createResponseParser({
      onBody(bytes) {
        text += bytes.toString("latin1");
        for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
          const event = text.slice(0, end);
          text = text.slice(end + 2);
          if (event.startsWith("event: next")) onPush(event);
        }
      },
      onEnd: (status) => fail(new Error(`a stream ended with ${status}`)),
    });
    socket.on("data", (bytes) => parser.feed(bytes));
    socket.on("error", fail);
    await once(socket, "connect");
    socket.write(postOf(JSON.stringify({ query, variables }), token, { accept: "text/event-stream" }));
  },

  async websocket({ url, token, query, variables }, onPush, fail) {
    const socket = new WebSocket(`${url.replace("http", "ws")}/graphql`, "graphql-transport-ws");
    socket.on("error", fail);
    socket.on("close", (code, reason) => fail(new Error(`a socket was closed: ${code} ${reason}`)));
    await once(socket, "open");
    const acknowledged = once(socket, "message");
    socket.send(JSON.stringify({ type: "connection_init", payload: { authorization: `Bearer ${token}` } }));
    await acknowledged;
    socket.on("message", (data: Buffer) => onPush(data.toString("latin1")));
    // Each has an id of its own, as graphql-ws makes them, which its messages repeat.
    socket.send(JSON.stringify({ id: randomUUID(), type: "subscribe", payload: { query, variables } }));
  },

  async "plain websocket"({ url }, onPush, fail) {
    const socket = new WebSocket(url.replace("http", "ws"));
    socket.on("error", fail);
    await once(socket, "open");
    socket.on("message", (data: Buffer) => onPush(data.toString("latin1")));
  },
};
