import type { Signal } from "@preact/signals";
import { alertList } from "./alerts/alert-feed.ts";
import { isPaused, togglePause } from "./clock.ts";
import { formatTime } from "./format/instant.ts";
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
        <Link to={{ page: "overview" }} class="brand" aria-current={page === "overview" ? "page" : undefined}>
          queue-latency
        </Link>
        <Link to={{ page: "alerts" }} aria-current={page === "alerts" ? "page" : undefined}>
          Alerts
          <FiringCount />
        </Link>
      </nav>
      <ConnectionState />
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
  const count = alertList.value.active.filter(({ state }) => state === "FIRING").length;
  return count === 0 ? null : (
    <span class="firing-count">
      {count}
      <span class="visually-hidden"> firing</span>
    </span>
  );
}

function ConnectionState() {
  const { state, since } = connection.value;
  const words = {
    connecting: "Connecting…",
    connected: isPaused.value ? "Paused" : "Live",
    lost: `Lost at ${formatTime(since)}`,
  };
  return (
    <span class="connection" data-state={state === "connected" && isPaused.value ? "paused" : state}>
      {words[state]}
    </span>
  );
}
