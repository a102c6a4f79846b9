import { computed, effect, signal } from "@preact/signals";
import { connection } from "./graphql/connection.ts";

/** Whether the person has stopped the display, to read it. Pushes go on, and are shown afterwards. */
export const isPaused = signal(false);

const pausedSince = signal<Date | null>(null);

/** When the display was stopped, or the instant of the last message before the connection was lost; null: it is live. */
export const frozenSince = computed(() => {
  // The numbers of a display that was stopped are older than a connection that was lost afterwards.
  if (pausedSince.value !== null) return pausedSince.value;
  const { state, since } = connection.value;
  return state === "lost" ? since : null;
});
export function togglePause(): void {
  isPaused.value = !isPaused.value;
  pausedSince.value = isPaused.value ? new Date() : null;
}

/** The server's time now, in ms: ticks once a second, and stands still while the display is frozen. */
export const nowMs = signal(localMs());

/** Does not jump when the clock of this machine is set. Where it stands still while the machine sleeps, the next reading corrects it. */
function localMs(): number {
  return performance.timeOrigin + performance.now();
}

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
  offsets = [...offsets, Date.parse(measuredAt) - localMs()].slice(-maxOffsets);
  // A first reading, or a clock that was set.
  if (Math.abs(serverOffsetMs() - before) > 1_000) tick();
}

function serverOffsetMs(): number {
  return offsets.length === 0 ? 0 : Math.max(...offsets);
}

function tick(): void {
  if (frozenSince.peek() === null) nowMs.value = localMs() + serverOffsetMs();
}

setInterval(tick, 1_000);
// Live again: not up to a second later.
effect(() => {
  if (frozenSince.value === null) tick();
});
