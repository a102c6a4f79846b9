import { signal } from "@preact/signals";
import { ofBrowser } from "./browser-storage.ts";

/** `system` follows the setting of the browser. */
const themes = ["system", "light", "dark"] as const;
export type Theme = (typeof themes)[number];

const storageKey = "queue-latency:theme";

export const theme = signal<Theme>(storedTheme());

/** Writes the theme to `data-theme`, which the styles read, now and whenever it changes. */
export function applyTheme(): void {
  theme.subscribe((chosen) => {
    if (chosen === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
  });
}

/** The next of system, light and dark; kept in this browser. */
export function nextTheme(): void {
  const next = themes[(themes.indexOf(theme.value) + 1) % themes.length] ?? "system";
  ofBrowser.write(storageKey, next);
  theme.value = next;
}

function storedTheme(): Theme {
  const stored = ofBrowser.read(storageKey);
  return themes.find((one) => one === stored) ?? "system";
}
