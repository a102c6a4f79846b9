import type { Server } from "node:http";
import { messageOf, StartError } from "../core/errors.ts";

export interface ListenOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

/** Connections that the kernel holds until they are accepted: a burst of one client must not make others connect again. */
const backlog = 4_096;

/** Begins to listen. @returns where, such as `http://127.0.0.1:4000`. @throws StartError */
export function listen(http: Server, { host, port }: ListenOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    http.once("error", (error: NodeJS.ErrnoException) => reject(listenError(error, host, port)));
    http.listen({ port, host, backlog }, () => {
      const address = http.address();
      const actualPort = typeof address === "object" && address !== null ? address.port : port;
      resolve(`http://${host.includes(":") ? `[${host}]` : host}:${actualPort}`);
    });
  });
}

function listenError(error: NodeJS.ErrnoException, host: string, port: number): Error {
  const reasons: Readonly<Record<string, string>> = {
    EADDRINUSE: "it is taken by another program; set PORT to another one",
    EACCES: "this user may not use it; set PORT to one above 1023",
    EADDRNOTAVAIL: "this machine has no such address; set HOST to one that it has",
    ENOTFOUND: "no such host is known; set HOST to an address of this machine",
  };
  const reason = reasons[error.code ?? ""] ?? messageOf(error);
  return new StartError(`Cannot listen on ${host}, port ${port}: ${reason}.`, { cause: error });
}
