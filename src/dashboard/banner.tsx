import { frozenSince, nowMs, togglePause } from "./clock.ts";
import { formatTime } from "./format/instant.ts";
import { connection } from "./graphql/connection.ts";

/** A first connection that takes longer is said to be missing. */
const maxConnectingMs = 5_000;

/**
 * Says that the numbers are old, and of when: while the connection is lost, while the server sends none, and while the display is stopped.
 * Also that there are none, when the first connection does not come about.
 */
export function Banner() {
  const since = frozenSince.value;
  const { state, sinceMs } = connection.value;
  // Reads the clock: it is drawn once a second.
  if (state === "connecting" && nowMs.value > 0 && performance.now() - sinceMs > maxConnectingMs) {
    return (
      <p class="banner" data-kind="lost" role="alert">
        The WebSocket to the server cannot be opened. Nothing is known until it is. Trying again… A proxy in
        between has to pass Upgrade on.
      </p>
    );
  }
  if (state === "lost") {
    return (
      <p class="banner" data-kind="lost" role="alert">
        Connection lost. <NumbersAt since={since} /> Trying to connect again…
      </p>
    );
  }
  if (since === null) return null;
  if (state === "refused") {
    return (
      <p class="banner" data-kind="lost" role="alert">
        The server sends no new numbers. <NumbersAt since={since} />
      </p>
    );
  }
  return (
    <p class="banner" data-kind="paused" role="status">
      Paused. <NumbersAt since={since} />{" "}
      <button type="button" onClick={togglePause}>
        Go on
      </button>
    </p>
  );
}

function NumbersAt({ since }: { readonly since: Date | null }) {
  if (since === null) return null;
  return (
    <>
      Numbers are as of <time>{formatTime(since)}</time>.
    </>
  );
}
