import { messageOf } from "../core/errors.ts";

const words = /^Connection is closed|^Stream isn't writeable|^Reached the max retries/;

/** Whether a connection has gone, or was not there: the next one shows why, where it fails, too. */
export function isConnectionLost(error: unknown): boolean {
  const message = messageOf(error);
  return words.test(message) || /ECONNRESET|EPIPE/.test(message);
}

/** What went wrong, for the log. ioredis has several words for a connection that the other side has closed. */
export function causeOf(error: unknown): string {
  const message = messageOf(error);
  return words.test(message) ? "the connection was closed" : message;
}
