import { frozenSince, togglePause } from "./clock.ts";
import { formatTime } from "./format/instant.ts";
import { connection } from "./graphql/connection.ts";

/** Says that the numbers are old, and of when: while the connection is lost, and while the display is stopped. */
export function Banner() {
  const since = frozenSince.value;
  if (since === null) return null;
  if (connection.value.state === "lost") {
    return (
      <p class="banner" data-kind="lost" role="alert">
        Connection lost. Numbers are as of <time>{formatTime(since)}</time>. Trying to connect again…
      </p>
    );
  }
  return (
    <p class="banner" data-kind="paused" role="status">
      Paused. Numbers are as of <time>{formatTime(since)}</time>.{" "}
      <button type="button" onClick={togglePause}>
        Go on
      </button>
    </p>
  );
}
