import { type Health, healthWords } from "../format/health-words.ts";

/** Another shape for each health, so that the colour is not needed: stop, growth, clock, question, tick. */
const shapes: Readonly<Record<Health, string>> = {
  STALLED: "M5.2 1h5.6L15 5.2v5.6L10.8 15H5.2L1 10.8V5.2zM5 7v2h6V7z",
  FALLING_BEHIND: "M8 1.5 15.2 14.5H.8zM7.1 6v4.2h1.8V6zm0 5.2V13h1.8v-1.8z",
  SLOW: "M8 1a7 7 0 1 0 0 14A7 7 0 0 0 8 1zM7.1 4h1.8v3.6l2.5 1.5-.9 1.5L7.1 8.6z",
  UNKNOWN:
    "M8 .8 15.2 8 8 15.2.8 8zM8 4.4c-1.4 0-2.3.8-2.4 2h1.5c.1-.5.4-.7.9-.7s.9.3.9.7c0 .4-.2.6-.7.9-.7.4-1 .8-1 1.7h1.5c0-.5.2-.7.8-1.1.6-.4.9-.9.9-1.6 0-1.1-1-1.9-2.4-1.9zm-.8 5.3v1.5h1.5V9.7z",
  OK: "M13.8 3.4 15 4.7 6.4 13.2 1.6 8.6l1.2-1.3 3.6 3.4z",
};

export function HealthIcon({ health }: { readonly health: Health }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path fill="currentColor" fill-rule="evenodd" d={shapes[health]} />
    </svg>
  );
}

/** The health of a queue: icon, colour and word. */
export function HealthLabel({ health }: { readonly health: Health }) {
  return (
    <span class="health" data-health={health}>
      <HealthIcon health={health} />
      <span>{healthWords[health]}</span>
    </span>
  );
}
