import type { Signal } from "@preact/signals";
import { healths } from "./format/health-words.ts";
import { keyHelp } from "./keys.ts";
import { Dialog } from "./parts/dialog.tsx";
import { HealthLabel } from "./parts/health.tsx";

const meanings = {
  STALLED: "jobs wait, and none has left for five minutes",
  FALLING_BEHIND: "more jobs come than leave, and the oldest grows older",
  SLOW: "the oldest job has waited for longer than the objective",
  UNKNOWN: "it cannot be determined",
  OK: "none of these",
} as const;

const signs = [
  ["≈", "about: the time comes from a clock that may differ"],
  ["≥", "at least: it may be longer"],
  ["±", "too high or too low: events were lost"],
  ["?", "not known"],
  ["–", "not reported, or no estimate"],
] as const;

/** Keys, healths and signs. */
export function Help({ isOpen }: { readonly isOpen: Signal<boolean> }) {
  if (!isOpen.value) return null;
  const close = () => {
    isOpen.value = false;
  };
  return (
    <Dialog title="Help" onClose={close}>
      <div class="help">
        <section>
          <h3>Keys</h3>
          <dl>
            {keyHelp.map(([keys, meaning]) => (
              <div key={keys}>
                <dt>
                  {keys.split(", ").map((key) => (
                    <kbd key={key}>{key}</kbd>
                  ))}
                </dt>
                <dd>{meaning}</dd>
              </div>
            ))}
          </dl>
        </section>
        <section>
          <h3>Health</h3>
          <dl>
            {healths.map((health) => (
              <div key={health}>
                <dt>
                  <HealthLabel health={health} />
                </dt>
                <dd>{meanings[health]}</dd>
              </div>
            ))}
          </dl>
          <h3>Signs before a latency</h3>
          <dl>
            {signs.map(([sign, meaning]) => (
              <div key={sign}>
                <dt>{sign}</dt>
                <dd>{meaning}</dd>
              </div>
            ))}
          </dl>
        </section>
      </div>
      <form method="dialog">
        <button type="submit">Close</button>
      </form>
    </Dialog>
  );
}
