import { useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { formatCount } from "../format/count.ts";
import { setParams } from "../route.ts";
import { type Choice, queueStates, type SortKey } from "./choice.ts";
import type { LoadedPage } from "./queue-store.ts";

interface FiltersProps {
  readonly choice: Choice;
  readonly sources: LoadedPage["sourceCounts"] | null;
  readonly search: RefObject<HTMLInputElement | null>;
}

const stateWords = { WAITING: "Waiting", EMPTY: "Empty", PAUSED: "Paused" } as const;
const sortWords: Readonly<Record<SortKey, string>> = {
  worst: "Worst first",
  name: "Name",
  latency: "Latency",
  lateness: "Latency ÷ objective",
  depth: "Depth",
  in: "In per second",
  out: "Out per second",
  p95: "p95 wait",
  forecast: "Drains last",
  source: "Source",
  state: "Paused first",
  accuracy: "Least certain",
};
const typingMs = 250;

/** Search, source, state and order; on a narrow window, where the table has no head, also the direction. */
export function Filters({ choice, sources, search }: FiltersProps) {
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => () => clearTimeout(timer.current), []);
  /** The text of the field: ahead of the address while a person types. */
  const text = useSignal(choice.search);
  useEffect(() => {
    if (document.activeElement !== search.current) text.value = choice.search;
  }, [choice.search]);

  function searchFor(typed: string): void {
    text.value = typed;
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setParams({ q: typed === "" ? null : typed }), typingMs);
  }

  const listed = sources ?? [];
  const isListed = choice.source === null || listed.some(({ source }) => source === choice.source);
  return (
    <search class="filters">
      <label class="field search">
        <span class="visually-hidden">Search for queues: a part of the name, or a pattern with * and ?</span>
        <input
          ref={search}
          type="search"
          name="q"
          placeholder="Search: *_low"
          autocomplete="off"
          spellcheck={false}
          maxLength={200}
          value={text}
          onInput={(event) => searchFor(event.currentTarget.value)}
        />
        <span class="key" aria-hidden="true">
          /
        </span>
      </label>
      <div class="field">
        <select
          aria-label="Source"
          value={choice.source ?? ""}
          onChange={(event) => setParams({ source: event.currentTarget.value || null }, "push")}
        >
          <option value="">All sources</option>
          {listed.map(({ source, count }) => (
            <option key={source} value={source}>
              {source} ({formatCount(count)})
            </option>
          ))}
          {!isListed && <option value={choice.source ?? ""}>{choice.source}</option>}
        </select>
      </div>
      <div class="field">
        <select
          aria-label="State"
          value={choice.state ?? ""}
          onChange={(event) => setParams({ state: event.currentTarget.value.toLowerCase() || null }, "push")}
        >
          <option value="">Any state</option>
          {queueStates.map((state) => (
            <option key={state} value={state}>
              {stateWords[state]}
            </option>
          ))}
        </select>
      </div>
      <div class="field">
        <select
          aria-label="Sort"
          value={choice.sort}
          onChange={(event) =>
            setParams(
              {
                sort: event.currentTarget.value === "worst" ? null : event.currentTarget.value,
                reverse: null,
              },
              "push",
            )
          }
        >
          {Object.entries(sortWords).map(([key, word]) => (
            <option key={key} value={key}>
              {word}
            </option>
          ))}
        </select>
      </div>
      <button
        type="button"
        class="narrow-only"
        aria-pressed={choice.isReversed}
        aria-label="Turn the order round"
        onClick={() => setParams({ reverse: choice.isReversed ? null : "" }, "push")}
      >
        ↑↓
      </button>
    </search>
  );
}
