import { signal } from "@preact/signals";
import { ofTab } from "./browser-storage.ts";

const storageKey = "queue-latency:token";

/** Whether the server refused the request because its token is missing, unknown or revoked: the form is shown. */
export const isTokenNeeded = signal(false);

/** The token of this tab; null without one. Another tab, and the next session, ask for it again. */
export function storedToken(): string | null {
  return ofTab.read(storageKey);
}

/** Headers of a request, and the payload of `connection_init`. */
export function authorization(): Readonly<Record<string, string>> {
  const token = storedToken();
  return token === null ? {} : { authorization: `Bearer ${token}` };
}

/**
 * All state is in the address, so that a new page begins where this one is, with another client.
 *
 * @returns false when the browser keeps nothing, and nothing has happened.
 */
export function storeToken(token: string | null): boolean {
  if (!ofTab.write(storageKey, token)) return false;
  location.reload();
  return true;
}
