import { effect } from "@preact/signals";
import { isolated } from "../format/isolated.ts";
import { route } from "../route.ts";
import { alertList, isPartial } from "./alert-feed.ts";
import firingIcon from "./firing.svg";
import { titleOf } from "./tab-title.ts";

/** Shows firing alerts in the title and the icon of the tab, on every page. @returns what ends it. */
export function startTabState(): () => void {
  const icon = document.querySelector<HTMLLinkElement>("#icon");
  const calmIcon = icon?.href ?? "";
  return effect(() => {
    const firing = alertList.value.active.filter(({ state }) => state === "FIRING").length;
    document.title = titleOf(pageName(), firing, isPartial.value);
    if (icon !== null) icon.href = firing === 0 ? calmIcon : firingIcon;
  });
}

function pageName(): string {
  const shown = route.value;
  if (shown.page === "queue") return isolated(shown.queue);
  return shown.page === "alerts" ? "Alerts" : "";
}
