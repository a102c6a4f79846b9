import { useState } from "preact/hooks";
import { nowMs } from "../clock.ts";
import { lastRanges, type Range, rangeProblem, toLocalInput } from "./range.ts";

export interface RangePickerProps {
  readonly range: Range;
  readonly onPick: (range: Range) => void;
}

/** The range of all charts: one of those up to now, or two times of the reader's own. */
export function RangePicker({ range, onPick }: RangePickerProps) {
  return (
    <div class="range-picker">
      <fieldset class="range-buttons">
        <legend class="visually-hidden">Range of the charts</legend>
        {lastRanges.map((last) => (
          <button
            type="button"
            key={last.name}
            aria-pressed={range.last?.name === last.name}
            onClick={() => onPick({ last })}
          >
            <span class="visually-hidden">Last </span>
            {last.label}
          </button>
        ))}
      </fieldset>
      <OwnRange key={JSON.stringify(range)} range={range} onPick={onPick} />
    </div>
  );
}

function OwnRange({ range, onPick }: RangePickerProps) {
  const shown = range.last === null ? range : { fromMs: nowMs.peek() - range.last.ms, toMs: nowMs.peek() };
  const [from, setFrom] = useState(toLocalInput(shown.fromMs));
  const [to, setTo] = useState(toLocalInput(shown.toMs));
  const [problem, setProblem] = useState<string | null>(null);

  function pick(event: Event): void {
    event.preventDefault();
    const [fromMs, toMs] = [Date.parse(from), Date.parse(to)];
    const found = rangeProblem(fromMs, toMs);
    setProblem(found);
    if (found === null) onPick({ last: null, fromMs, toMs });
  }

  return (
    <details class="own-range" open={range.last === null}>
      <summary>From – to</summary>
      <form onSubmit={pick}>
        <label>
          From
          <input type="datetime-local" value={from} onInput={(event) => setFrom(event.currentTarget.value)} />
        </label>
        <label>
          To
          <input type="datetime-local" value={to} onInput={(event) => setTo(event.currentTarget.value)} />
        </label>
        <button type="submit">Show</button>
        {problem !== null && <p role="alert">{problem}</p>}
      </form>
    </details>
  );
}
