import { useEffect, useRef } from "preact/hooks";

/** What keys do, by `KeyboardEvent.key`. An action that returns false did nothing: the key goes on to the browser. */
export type KeyActions = Readonly<Record<string, (event: KeyboardEvent) => boolean | undefined>>;

/** What the help shows. */
export const keyHelp: readonly (readonly [keys: string, meaning: string])[] = [
  ["/", "Search for a queue"],
  ["j, k", "Next row, previous row"],
  ["Enter", "Open the row"],
  ["Esc", "Leave the search, the row or the page"],
  ["p", "Stop the display, go on"],
  ["t", "Theme: as the system, light, dark"],
  ["?", "This help"],
];

const registered: { readonly current: KeyActions }[] = [];

/** Keys of a component, for as long as it is shown. The one that came last has the first say. */
export function useKeys(actions: KeyActions): void {
  const latest = useRef(actions);
  latest.current = actions;
  useEffect(() => {
    registered.unshift(latest);
    return () => void registered.splice(registered.indexOf(latest), 1);
  }, []);
}

addEventListener("keydown", (event) => {
  if (event.metaKey || event.ctrlKey || event.altKey || event.isComposing) return;
  // An open dialog has the keys to itself.
  if (document.querySelector("dialog[open]") !== null) return;
  if (isTyping(event.target) && event.key !== "Escape") return;
  for (const { current } of registered) {
    const action = Object.hasOwn(current, event.key) ? current[event.key] : undefined;
    if (action === undefined || action(event) === false) continue;
    event.preventDefault();
    return;
  }
});

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input, textarea, select, [contenteditable]");
}
