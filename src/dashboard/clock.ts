import { computed, effect, signal } from "@preact/signals";
import { connection } from "./graphql/connection.ts";

/** Whether the person has stopped the display, to read it. Pushes go on, and are shown afterwards. */
export const isPaused = signal(false);

const pausedSince = signal<Date | null>(null);

/** When the display was stopped, or the instant of the last message before the connection was lost; null: it is live. */
export const frozenSince = computed(() => {
  const { state, since } = connection.value;
  if (state === "lost") return since;
  return pausedSince.value;
});
export function togglePause(): void {
  isPaused.value = !isPaused.value;
  pausedSince.value = isPaused.value ? new Date() : null;
}

/** The server's time now, in ms: ticks once a second, and stands still while the display is frozen. */
export const nowMs = signal(Date.now());

/** How far the server's clock is ahead of this one, by each of the last readings. */
let offsets: number[] = [];
const maxOffsets = 30;

/**
 * Takes note of the server's time.
 *
 * @param measuredAt of what was just received. It is older than that by its way here, so the largest difference is the nearest.
 */
export function observeServerTime(measuredAt: string): void {
  const before = serverOffsetMs();
  offsets = [...offsets, Date.parse(measuredAt) - Date.now()].slice(-maxOffsets);
  // A first reading, or a clock that was set.
  if (Math.abs(serverOffsetMs() - before) > 1_000) tick();
}

function serverOffsetMs(): number {
  return offsets.length === 0 ? 0 : Math.max(...offsets);
}

function tick(): void {
  if (frozenSince.peek() === null) nowMs.value = Date.now() + serverOffsetMs();
}

setInterval(tick, 1_000);
// Live again: not up to a second later.
effect(() => {
  if (frozenSince.value === null) tick();
});
