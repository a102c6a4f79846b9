import type { Signal } from "@preact/signals";
import { alertList, alertsError, isPartial } from "./alerts/alert-feed.ts";
import { isSoundBlocked } from "./alerts/notifications.ts";
import { isPaused, lostSince, togglePause } from "./clock.ts";
import { formatAtLeast } from "./format/count.ts";
import { formatTime } from "./format/instant.ts";
import { advice } from "./graphql/api-error.ts";
import { connection } from "./graphql/connection.ts";
import { pageGraphiqlHref } from "./graphql/graphiql-link.ts";
import { Link } from "./parts/link.tsx";
import { params, route, setParams } from "./route.ts";
import { nextTheme, theme } from "./theme.ts";
import { storedToken, storeToken } from "./token.ts";

/** Where one is, whether it is live, and what the keys do for those who use the mouse. */
export function Header({ isHelpOpen }: { readonly isHelpOpen: Signal<boolean> }) {
  const { page } = route.value;
  const isTv = params.value.has("tv");
  return (
    <header class="header">
      <nav class="pages" aria-label="Pages">
        <span class="brand">queue-latency</span>
        <Link to={{ page: "overview" }} aria-current={page === "overview" ? "page" : undefined}>
          Queues
        </Link>
        <Link to={{ page: "alerts" }} aria-current={page === "alerts" ? "page" : undefined}>
          Alerts
          <FiringCount />
        </Link>
      </nav>
      <ConnectionState />
      {isSoundBlocked.value && <span class="sound-blocked">No sound before you click on the page</span>}
      <div class="actions">
        <button
          type="button"
          aria-pressed={isPaused.value}
          onClick={togglePause}
          title="Stop the display (p)"
        >
          Pause
        </button>
        <button type="button" onClick={nextTheme} title="Theme (t)">
          Theme: {theme.value}
        </button>
        {page === "overview" && (
          <button
            type="button"
            class="wide-only"
            aria-pressed={isTv}
            onClick={() => setParams({ tv: isTv ? null : "" }, "push")}
          >
            TV
          </button>
        )}
        <a class="wide-only" href={pageGraphiqlHref}>
          GraphiQL
        </a>
        {storedToken() !== null && (
          <button type="button" onClick={() => storeToken(null)}>
            Forget token
          </button>
        )}
        <button
          type="button"
          aria-label="Help"
          title="Help (?)"
          onClick={() => {
            isHelpOpen.value = true;
          }}
        >
          ?
        </button>
      </div>
    </header>
  );
}

/** On every page: how many alerts fire. */
function FiringCount() {
  const error = alertsError.value;
  if (error !== null && error.code !== "NO_ALERT_RULES") {
    return (
      <span class="firing-count" title={advice(error, true)}>
        ?<span class="visually-hidden"> not known</span>
      </span>
    );
  }
  const count = alertList.value.active.filter(({ state }) => state === "FIRING").length;
  return count === 0 ? null : (
    <span class="firing-count">
      {formatAtLeast(count, isPartial.value)}
      <span class="visually-hidden"> firing</span>
    </span>
  );
}

function ConnectionState() {
  const { state } = connection.value;
  const words = {
    connecting: "Connecting…",
    connected: isPaused.value ? "Paused" : "Live",
    lost: lostSince.value === null ? "Lost" : `Lost at ${formatTime(lostSince.value)}`,
    refused: lostSince.value === null ? "No numbers" : `Stopped at ${formatTime(lostSince.value)}`,
  };
  return (
    <span class="connection" data-state={state === "connected" && isPaused.value ? "paused" : state}>
      {words[state]}
    </span>
  );
}
