import { effect } from "@preact/signals";
import { useKeys } from "../keys.ts";
import { navigate, params, route } from "../route.ts";
import { entryKey, scrollPositionOf } from "../scroll-position.ts";

/** What was chosen on the overview when it was left, and its entry in the browser's history. */
let overviewQuery = new URLSearchParams();
let overviewKey = "";
effect(() => {
  if (route.value.page !== "overview") return;
  overviewQuery = params.value;
  overviewKey = entryKey();
});

/** Esc leaves a field, and then the page: the overview is as it was. */
export function useEscape(): void {
  useKeys({
    Escape() {
      const focused = document.activeElement;
      if (focused instanceof HTMLElement && focused.matches("input")) focused.blur();
      else navigate({ page: "overview" }, overviewQuery, scrollPositionOf(overviewKey));
      return true;
    },
  });
}
