import { formatCount } from "../format/count.ts";
import { type Health, healths, healthWords } from "../format/health-words.ts";
import { HealthIcon } from "../parts/health.tsx";
import { setParams } from "../route.ts";
import type { LoadedPage } from "./queue-store.ts";

interface HealthFilterProps {
  readonly counts: LoadedPage["healthCounts"] | null;
  readonly chosen: readonly Health[];
}

/** How many queues have each health. Each is a button that shows only these. */
export function HealthFilter({ counts, chosen }: HealthFilterProps) {
  return (
    <fieldset class="health-filter">
      <legend class="visually-hidden">Show only queues of these healths</legend>
      {healths.map((health) => {
        const count = counts?.find((one) => one.health === health)?.count;
        const isChosen = chosen.includes(health);
        const next = isChosen ? chosen.filter((one) => one !== health) : [...chosen, health];
        return (
          <button
            key={health}
            type="button"
            class="health-count"
            data-health={health}
            data-none={count === 0 ? "" : undefined}
            aria-pressed={isChosen}
            onClick={() =>
              setParams({ health: next.length === 0 ? null : next.join(",").toLowerCase() }, "push")
            }
          >
            <HealthIcon health={health} />
            <span class="number">{count === undefined ? "–" : formatCount(count)}</span>
            <span>{healthWords[health]}</span>
          </button>
        );
      })}
    </fieldset>
  );
}
