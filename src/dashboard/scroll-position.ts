import { ofTab } from "./browser-storage.ts";

const storageKey = "queue-latency:scroll";
const maxKept = 50;

/** How far each entry of the browser's history was scrolled, in px, by the `key` in its state. */
const positions = keptPositions();

/** Where the page is to be scrolled to as soon as it is long enough: its rows come after it. Null: it is there. */
let wanted: number | null = null;

interface EntryState {
  readonly key: string;
}

/** The state for a new entry of the browser's history. */
export function newEntryState(): EntryState {
  return { key: String(Math.random()) };
}

/** The key of the entry that is shown. */
export function entryKey(): string {
  return (history.state as EntryState | null)?.key ?? "";
}

/** How far an entry was scrolled when it was last shown; 0 for one that was not. */
export function scrollPositionOf(key: string): number {
  return positions.get(key) ?? 0;
}

/** Notes how far the entry that is shown is scrolled. */
export function noteScrollPosition(): void {
  if (wanted === null) positions.set(entryKey(), scrollY);
}

/** Scrolls there when the page of the entry is drawn, and again while that grows, until it is long enough or a person does something. */
export function scrollWhenDrawn(px: number): void {
  wanted = px;
  requestAnimationFrame(approach);
}

function approach(): void {
  if (wanted === null) return;
  scrollTo(0, wanted);
  if (Math.abs(scrollY - wanted) < 1) arrive();
}

function arrive(): void {
  wanted = null;
  noteScrollPosition();
}

/** Has the buttons Back and Forward, and a reload, lead to where the page was scrolled. The browser tries once, before there are rows. */
export function keepScrollPositions(): void {
  history.scrollRestoration = "manual";
  if (history.state === null) history.replaceState(newEntryState(), "");
  addEventListener("scroll", noteScrollPosition, { passive: true });
  // Before what the same key or click does, which may be to scroll.
  for (const type of ["wheel", "touchstart", "pointerdown", "keydown"])
    addEventListener(type, arrive, { capture: true, passive: true });
  new ResizeObserver(approach).observe(document.body);
  addEventListener("popstate", () => scrollWhenDrawn(scrollPositionOf(entryKey())));
  addEventListener("pagehide", () => {
    positions.set(entryKey(), wanted ?? scrollY);
    ofTab.write(storageKey, JSON.stringify([...positions].slice(-maxKept)));
  });
  scrollWhenDrawn(scrollPositionOf(entryKey()));
}

/** Those of the document before this one, as before a reload. */
function keptPositions(): Map<string, number> {
  try {
    return new Map(JSON.parse(ofTab.read(storageKey) ?? "[]"));
  } catch {
    return new Map();
  }
}
