import { computed, effect, signal } from "@preact/signals";
import { connection, isSilent } from "./graphql/connection.ts";

/** How far the clock of the server is ahead of `performance.now()`, by each of the last readings. */
let offsets: number[] = [];
const maxOffsets = 30;

/** Whether any time of the server has come. Before that only the clock of this browser is known, which may be wrong by hours. */
export const isServerTimeKnown = signal(false);

/** What the clock of the server shows at an instant of `performance.now()`, which does not jump when the clock of this machine is set. */
function serverMs(atMs: number): number {
  return atMs + (offsets.length === 0 ? performance.timeOrigin : Math.max(...offsets));
}

/** The server's time now, in ms: also while the display is frozen. */
export function serverNowMs(): number {
  return serverMs(performance.now());
}

/**
 * Takes note of the server's time.
 *
 * @param measuredAt of what was just received. It is older than that by its way here, so the largest difference is the nearest.
 */
export function observeServerTime(measuredAt: string): void {
  const before = serverNowMs();
  offsets = [...offsets, Date.parse(measuredAt) - performance.now()].slice(-maxOffsets);
  isServerTimeKnown.value = true;
  // A first reading, or a clock that was set or that stood still while the machine slept.
  if (Math.abs(serverNowMs() - before) > 1_000) tick();
}

/** Whether the person has stopped the display, to read it. Pushes go on, and are shown afterwards. */
export const isPaused = signal(false);

const pausedSince = signal<Date | null>(null);

/** Of when the numbers are that no new ones follow, by the clock of the server; null: there are none, or they are live. */
export const lostSince = computed(() => {
  const { numbersAtMs } = connection.value;
  return numbersAtMs === null ? null : new Date(serverMs(numbersAtMs));
});

/** Of when the numbers are, by the clock of the server, while the display is stopped or the connection is lost; null: it is live. */
export const frozenSince = computed(
  // The numbers of a display that was stopped are older than a connection that was lost afterwards.
  () => pausedSince.value ?? lostSince.value,
);

export function togglePause(): void {
  isPaused.value = !isPaused.value;
  pausedSince.value = isPaused.value ? (lostSince.value ?? new Date(serverNowMs())) : null;
}

/** The server's time, in ms: ticks once a second, and stands still while the display is frozen. */
export const nowMs = signal(serverNowMs());

function tick(): void {
  // A page that stood still ticks before it has noticed that its numbers are old.
  if (frozenSince.peek() === null && !isSilent()) nowMs.value = serverNowMs();
}

setInterval(tick, 1_000);
// Live again: not up to a second later.
effect(() => {
  if (frozenSince.value === null) tick();
});
