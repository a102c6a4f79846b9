import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Caller } from "../core/admission.ts";

/** What a request says of its sender. Plain values: what stays open after a request does not keep the request. */
export function callerOf({ socket, headers }: IncomingMessage): Caller {
  const forwardedFor = headers["x-forwarded-for"];
  return {
    address: socket.remoteAddress,
    forwardedFor: Array.isArray(forwardedFor) ? forwardedFor.join() : forwardedFor,
    authorization: headers.authorization,
  };
}

/** The sender of a connection that has sent nothing yet. */
export function callerAt({ remoteAddress }: Socket): Caller {
  return { address: remoteAddress, forwardedFor: undefined, authorization: undefined };
}
