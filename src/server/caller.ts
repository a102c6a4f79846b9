import type { IncomingMessage } from "node:http";
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
