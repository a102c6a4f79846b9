import { signal } from "@preact/signals";

/** The one WebSocket of the page. */
export interface Connection {
  readonly state: "connecting" | "connected" | "lost";
  /** When this state began; when it is lost, the instant of the last message. */
  readonly since: Date;
}

export const connection = signal<Connection>({ state: "connecting", since: new Date() });

/** A ping is sent a second after the last pong, so a silence of more than this is not for lack of changes. */
const maxSilenceMs = 1_800;
/** A socket that is silent for so long is given up, and another one is opened. */
const maxDeadMs = 6_000;
const checkEveryMs = 200;

export interface SilenceWatch {
  /** Called with every message, and when the socket opens. */
  received(): void;
  /** Called when all that the page shows has come over this socket. */
  refreshed(): void;
  /** Called when the socket has closed, or could not be opened. */
  closed(event: unknown): void;
}

/**
 * Keeps `connection` true: a socket that is silent is lost, long before TCP notices.
 *
 * @param giveUp closes a dead socket, so that the next one is opened.
 */
export function watchSilence(giveUp: () => void): SilenceWatch {
  let isOpen = false;
  /** Whether the page shows what has come over this socket, rather than over the one before. */
  let isFresh = false;
  let receivedMs = performance.now();
  let receivedAt = new Date();

  function lose(): void {
    if (connection.value.state === "connected") connection.value = { state: "lost", since: receivedAt };
  }

  function show(): void {
    if (connection.value.state !== "connected") connection.value = { state: "connected", since: receivedAt };
  }

  setInterval(() => {
    // In a hidden tab browsers slow timers down, and pings with them.
    if (!isOpen || document.hidden) return;
    const silentMs = performance.now() - receivedMs;
    if (silentMs > maxSilenceMs) lose();
    if (silentMs > maxDeadMs) giveUp();
  }, checkEveryMs);
  // The socket may live on where the server is this machine: then the next one opens at once.
  addEventListener("offline", () => {
    if (isOpen) giveUp();
  });
  document.addEventListener("visibilitychange", () => {
    receivedMs = performance.now();
  });

  return {
    received() {
      isOpen = true;
      receivedMs = performance.now();
      receivedAt = new Date();
      if (isFresh) show();
    },
    refreshed() {
      isFresh = true;
      if (isOpen) show();
    },
    closed(event) {
      isOpen = false;
      isFresh = false;
      // The client itself closes a socket that no subscription needs.
      if (!isNormal(event)) lose();
    },
  };
}

function isNormal(event: unknown): boolean {
  return event instanceof CloseEvent && event.code === 1_000;
}
