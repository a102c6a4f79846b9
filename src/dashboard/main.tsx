import { render } from "preact";
import { startAlertFeed } from "./alerts/alert-feed.ts";
import { startNotifications } from "./alerts/notifications.ts";
import { startTabState } from "./alerts/tab-state.ts";
import { App } from "./app.tsx";
import { keepScrollPositions } from "./scroll-position.ts";
import { applyTheme } from "./theme.ts";

applyTheme();
const root = document.getElementById("app");
if (root !== null) {
  render(<App />, root);
  // On every page, for as long as the tab is open.
  keepScrollPositions();
  startAlertFeed();
  startTabState();
  startNotifications();
}
