import { signal } from "@preact/signals";

const spoken = signal("");
const minIntervalMs = 10_000;
let next: string | null = null;
let isWaiting = false;

/** Has a screen reader say a sentence, politely: at most one in 10 s, and the newest. */
export function announce(text: string): void {
  next = text;
  if (isWaiting) return;
  isWaiting = true;
  setTimeout(speak, 500);
}

function speak(): void {
  isWaiting = next !== null;
  if (next === null) return;
  spoken.value = next;
  next = null;
  setTimeout(speak, minIntervalMs);
}

/** Where screen readers find it. */
export function Announcements() {
  return (
    <div class="visually-hidden" role="status">
      {spoken}
    </div>
  );
}
