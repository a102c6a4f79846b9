import { signal } from "@preact/signals";

/** The one WebSocket of the page. */
export interface Connection {
  /** `refused`: it is open, and the server does not send what the page shows. */
  readonly state: "connecting" | "connected" | "lost" | "refused";
  /** When this state began, by `performance.now()`, in ms. */
  readonly sinceMs: number;
  /** When it is lost or refused: until when the numbers on the page were those of the server. Null: there have been none. */
  readonly numbersAtMs: number | null;
}

export const connection = signal<Connection>({
  ...{ state: "connecting", sinceMs: performance.now(), numbersAtMs: null },
});

/**
 * Pings are sent this often, each without waiting for the pong of the one before: so are the pongs, however long their way is, and a
 * silence of more than `maxSilenceMs` is not for lack of changes.
 */
export const pingEveryMs = 1_000;
const maxSilenceMs = 1_800;
/** A socket that is silent for so long is given up, and another one is opened. */
const maxDeadMs = 6_000;
const checkEveryMs = 200;
/** Browsers slow the timers of a hidden tab down, and pings with them: after a shorter silence its numbers are those of the server. */
const maxHiddenSilenceMs = 3_000;

export interface SilenceWatch {
  /** Called when the socket has been acknowledged. @param roundTripMs how long that took: as long as the first pong will. */
  opened(roundTripMs: number): void;
  /** Called with every message. @returns whether it is to be used: what a page finds in its socket after it stood still is old. */
  received(): boolean;
  /** Called when all that the page shows has come over this socket. */
  refreshed(): void;
  /** Called when the server does not send a part of it any more. */
  refused(): void;
  /** Called when the socket has closed, or could not be opened. */
  closed(event: unknown): void;
}

let isOpen = false;
/** Whether the page shows what has come over this socket, rather than over the one before. */
let isFresh = false;
let receivedMs = performance.now();
/** From when on it is silent: when the last message came, or when the first one may come at the earliest. */
let silentFromMs = receivedMs;

/** Whether the socket is open, and no message has come for longer than one takes. What is shown may be old then. */
export function isSilent(): boolean {
  return isOpen && performance.now() - silentFromMs > maxSilenceMs;
}

function lose(state: "lost" | "refused"): void {
  const before = connection.value;
  // The first connection goes on to be opened.
  if (before.state === state || (before.state === "connecting" && state === "lost")) return;
  // After one trouble comes another: what is shown is from before either.
  const numbersAtMs = before.state === "connected" ? receivedMs : before.numbersAtMs;
  connection.value = { state, sinceMs: performance.now(), numbersAtMs };
}

function show(): void {
  if (connection.value.state === "connected") return;
  connection.value = { state: "connected", sinceMs: performance.now(), numbersAtMs: null };
}

/**
 * Keeps `connection` true: a socket that is silent is lost, long before TCP notices.
 *
 * @param giveUp closes a dead socket, so that the next one is opened.
 */
export function watchSilence(giveUp: () => void): SilenceWatch {
  const standstill = watchStandstill();
  let shownMs = performance.now();

  function end(): void {
    lose("lost");
    giveUp();
  }

  setInterval(() => {
    const stoodStill = standstill.ended();
    if (!isOpen || document.hidden) return;
    if (isSilent()) lose("lost");
    if (stoodStill || performance.now() - Math.max(silentFromMs, shownMs) > maxDeadMs) end();
  }, checkEveryMs);
  // The socket may live on where the server is this machine: then the next one opens at once.
  addEventListener("offline", () => {
    if (isOpen) end();
  });
  document.addEventListener("visibilitychange", () => {
    shownMs = performance.now();
    // The timers of a hidden tab are slow, and no sign of a standstill.
    standstill.ended();
    if (isOpen && !document.hidden && shownMs - receivedMs > maxHiddenSilenceMs) lose("lost");
  });

  return {
    opened(roundTripMs) {
      isOpen = true;
      receivedMs = performance.now();
      silentFromMs = receivedMs + roundTripMs;
    },
    received() {
      if (!isOpen) return false;
      if (!document.hidden && standstill.ended()) {
        end();
        return false;
      }
      receivedMs = performance.now();
      silentFromMs = receivedMs;
      if (isFresh) show();
      return true;
    },
    refreshed() {
      isFresh = true;
      if (isOpen) show();
    },
    refused() {
      isFresh = false;
      lose("refused");
    },
    closed(event) {
      isOpen = false;
      isFresh = false;
      // The client itself closes a socket that no subscription needs.
      if (!isNormal(event)) lose("lost");
    },
  };
}

/** Notices that the page stood still, as when the machine slept: by either clock, for the one of `performance` may have slept, too. */
function watchStandstill(): { ended(): boolean } {
  let lastMs = performance.now();
  let lastWallMs = Date.now();
  return {
    ended() {
      const stoodMs = Math.max(performance.now() - lastMs, Date.now() - lastWallMs);
      lastMs = performance.now();
      lastWallMs = Date.now();
      return stoodMs > maxDeadMs;
    },
  };
}

function isNormal(event: unknown): boolean {
  return event instanceof CloseEvent && event.code === 1_000;
}
