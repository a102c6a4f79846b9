import { effect } from "@preact/signals";
import { useKeys } from "../keys.ts";
import { navigate, params, route } from "../route.ts";

/** What was chosen on the overview when it was left. */
let overviewQuery = new URLSearchParams();
effect(() => {
  if (route.value.page === "overview") overviewQuery = params.value;
});

/** Esc leaves a field, and then the page: the overview is as it was. */
export function useEscape(): void {
  useKeys({
    Escape() {
      const focused = document.activeElement;
      if (focused instanceof HTMLElement && focused.matches("input")) focused.blur();
      else navigate({ page: "overview" }, overviewQuery);
      return true;
    },
  });
}
