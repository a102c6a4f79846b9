import { vi } from "vitest";

/**
 * To end what hangs; it is no promise in time. On a machine with ten processes for each core a second of work takes half a minute.
 * vitest.config.ts has the same for `expect.poll`.
 */
export const hangsAfterMs = 60_000;

/** Resolves with the result of the check as soon as that does not throw. @throws its last error when it hangs. */
export function until<T>(check: () => T | Promise<T>, intervalMs = 20): Promise<T> {
  return vi.waitFor(check, { timeout: hangsAfterMs, interval: intervalMs });
}
