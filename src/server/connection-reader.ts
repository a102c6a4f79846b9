import type { ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { FairScheduler } from "./fair-scheduler.ts";

/**
 * Reads what connections send slice by slice, where Node's HTTP server parses all that has come at once. Parsing a slice, and what its
 * requests do before their first `await`, is work of a client. Behind an unanswered request nothing is parsed: no client needs
 * pipelining, and TCP holds the sender back.
 */
export interface ConnectionReader {
  /** @param client whose work it is, as long as no request names another one. */
  read(socket: Socket, client: string): void;
  /** Called when the head of a request is parsed. Its body is work of this client. */
  begin(response: ServerResponse, client: string): void;
  /** Called when its response has left, or is lost. */
  end(response: ServerResponse): void;
  /** The last response of each connection that has an unanswered request. */
  unanswered(): readonly ServerResponse[];
  /** Reads nothing more of its connection, which closes after the response, and keeps nothing of what was read. */
  drop(response: ServerResponse): void;
  /** Whether requests that came over the socket are not answered yet. */
  isBusy(socket: Socket): boolean;
  /** From now on the socket is read by others. */
  release(socket: Socket): void;
  /**
   * Takes the connection of a response whose head has been written from Node's HTTP server, as an upgrade does. For all who listen to it
   * the socket has closed, so that its parser, request and response are released. A request behind that one is not answered.
   */
  take(response: ServerResponse): Socket;
  /** Destroys a socket that Node's HTTP server does not serve any more, and closes its responses. */
  cut(socket: Socket): void;
}

interface Connection {
  readonly pump: () => void;
  readonly firstClient: string;
  client: string;
  readonly unanswered: ServerResponse[];
  /** To the last request. */
  response: ServerResponse | null;
  /** Of the body of the last request, at most. */
  bodyBytesLeft: number;
  /** It is read by others, or not at all. */
  isReleased: boolean;
}

/** Of heads and chunked bodies: there may be a request in each 26 bytes, and a chunk in each 6. */
const sliceBytes = 1_024;
/** Of a body of known length: it is only copied. */
const bodySliceBytes = 65_536;

export function createConnectionReader(scheduler: FairScheduler): ConnectionReader {
  const connections = new Map<Socket, Connection>();

  function stopReading(socket: Socket): void {
    const connection = connections.get(socket);
    if (connection === undefined) return;
    connection.isReleased = true;
    socket.off("readable", connection.pump);
    socket.off("resume", connection.pump);
  }

  function forget(this: Socket): void {
    stopReading(this);
    connections.delete(this);
  }

  function unansweredOn(socket: Socket): readonly ServerResponse[] {
    return [...(connections.get(socket)?.unanswered ?? [])];
  }

  return {
    read(socket, client) {
      let isTurnPending = false;
      const readSlice = () => {
        isTurnPending = false;
        if (connection.isReleased) return;
        const bytes = Math.min(socket.readableLength, sliceOf(connection));
        connection.bodyBytesLeft -= bytes;
        // Node's parser listens for data.
        socket.read(bytes);
      };
      const pump = () => {
        while (!isTurnPending && socket.readableLength > 0 && !isBlocked(connection)) {
          isTurnPending = true;
          const turn = scheduler.begin(connection.client, readSlice);
          if (isTurnPending) void turn.then(pump);
        }
        // Its end is only seen by a read.
        if (socket.readableLength === 0 && !connection.isReleased) socket.read(0);
      };
      const connection: Connection = {
        ...{ pump, firstClient: client, client },
        ...{ unanswered: [], response: null, bodyBytesLeft: 0, isReleased: false },
      };
      connections.set(socket, connection);
      socket.on("readable", pump);
      // A body that was not read is read on.
      socket.on("resume", pump);
      socket.on("close", forget);
    },
    begin(response, client) {
      const { socket, headers } = response.req;
      const connection = connections.get(socket);
      if (connection === undefined) return;
      connection.client = client;
      connection.response = response;
      connection.unanswered.push(response);
      connection.bodyBytesLeft = Number(headers["content-length"] ?? 0);
    },
    end(response) {
      const { socket, headers } = response.req;
      const connection = connections.get(socket);
      if (connection === undefined) return;
      connection.unanswered.splice(connection.unanswered.indexOf(response), 1);
      // A proxy sends requests of many clients over one connection.
      if (headers["x-forwarded-for"] !== undefined) connection.client = connection.firstClient;
      if (socket.readableLength > 0) connection.pump();
    },
    unanswered: () => [...connections.values()].flatMap(({ unanswered }) => unanswered.slice(-1)),
    isBusy: (socket) => (connections.get(socket)?.unanswered.length ?? 0) > 0,
    drop({ req: { socket } }) {
      stopReading(socket);
      // Of the parser.
      socket.removeAllListeners("data");
      // When its buffer is full, a socket is not read until it is asked for more.
      socket._read = () => {};
      socket.on("readable", () => socket.read());
      socket.read();
    },
    release(socket) {
      socket.off("close", forget);
      forget.call(socket);
    },
    take(response) {
      const { socket } = response.req;
      const unanswered = unansweredOn(socket);
      // Node would destroy it for a request that came behind in the same slice.
      socket.destroy = () => socket;
      socket.emit("close", false);
      Reflect.deleteProperty(socket, "destroy");
      socket.removeAllListeners();
      socket.setTimeout(0);
      closeAll(unanswered);
      return socket;
    },
    cut(socket) {
      const unanswered = unansweredOn(socket);
      socket.once("close", () => closeAll(unanswered));
      socket.destroy();
    },
  };
}

/** Node closes only the first response of a connection that has closed. */
function closeAll(responses: readonly ServerResponse[]): void {
  for (const response of responses) if (!response.closed) response.destroy().emit("close");
}

function sliceOf({ response, bodyBytesLeft }: Connection): number {
  if (response === null || response.req.complete) return sliceBytes;
  return Math.max(sliceBytes, Math.min(bodySliceBytes, bodyBytesLeft));
}

function isBlocked({ response, unanswered, isReleased }: Connection): boolean {
  if (isReleased) return true;
  if (response === null) return false;
  const { complete, readableFlowing, readableLength } = response.req;
  if (complete) return unanswered.length > 0;
  if (unanswered.length > 1 || readableFlowing === false) return true;
  return readableFlowing === null && readableLength > 0;
}
