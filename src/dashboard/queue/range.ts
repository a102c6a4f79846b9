import { type StepName, stepMs } from "../charts/step-grid.ts";

const minute = 60_000;
const hour = 60 * minute;
const day = 24 * hour;

/** Ranges up to now, by their names in the address. */
export const lastRanges = [
  { name: "15m", label: "15 m", ms: 15 * minute, step: "TEN_SECONDS" },
  { name: "1h", label: "1 h", ms: hour, step: "TEN_SECONDS" },
  { name: "6h", label: "6 h", ms: 6 * hour, step: "ONE_MINUTE" },
  { name: "24h", label: "24 h", ms: day, step: "ONE_MINUTE" },
  { name: "7d", label: "7 d", ms: 7 * day, step: "ONE_HOUR" },
  { name: "30d", label: "30 d", ms: 30 * day, step: "ONE_HOUR" },
  { name: "90d", label: "90 d", ms: 90 * day, step: "ONE_HOUR" },
] as const satisfies readonly {
  readonly name: string;
  readonly label: string;
  readonly ms: number;
  readonly step: StepName;
}[];
export type LastRange = (typeof lastRanges)[number];

/** What the charts show: up to now, or between two instants, in ms since the epoch. */
export type Range =
  | { readonly last: LastRange }
  | { readonly last: null; readonly fromMs: number; readonly toMs: number };

const defaultRange: LastRange = lastRanges[1];

/** The range that the query of the address names: `range=6h`, or `from` and `to`; an hour where it names none. */
export function rangeOf(query: URLSearchParams): Range {
  const fromMs = Date.parse(query.get("from") ?? "");
  const toMs = Date.parse(query.get("to") ?? "");
  if (rangeProblem(fromMs, toMs) === null) return { last: null, fromMs, toMs };
  return { last: lastRanges.find(({ name }) => name === query.get("range")) ?? defaultRange };
}

/** A range in the query of the address; null removes a parameter. Instants are in UTC: a link is for readers everywhere. */
export function paramsOf(range: Range): Readonly<Record<"range" | "from" | "to", string | null>> {
  if (range.last !== null) return { range: range.last.name, from: null, to: null };
  return { range: null, from: isoInstant(range.fromMs), to: isoInstant(range.toMs) };
}

/** To the second where there are seconds, as a chart's selection has. */
function isoInstant(ms: number): string {
  return new Date(ms).toISOString().replace(/(?::00)?\.\d+Z$/, "Z");
}

/** One range of times and its steps. */
export interface StepRange {
  readonly fromMs: number;
  readonly toMs: number;
  readonly step: StepName;
}

export function stepRangeOf(range: Range, nowMs: number): StepRange {
  if (range.last !== null) {
    const { ms, step } = range.last;
    return { fromMs: nowMs - ms, toMs: nowMs, step };
  }
  const { fromMs, toMs } = range;
  return { fromMs, toMs, step: stepBetween(fromMs, toMs, nowMs) };
}

/** As many steps as a wide screen has room for, and as three requests may ask for. */
const maxSteps = 3_000;

/** For how long the server keeps steps, unless its settings say otherwise. */
const keptMs = { TEN_SECONDS: 6 * hour, ONE_MINUTE: 48 * hour };

function stepBetween(fromMs: number, toMs: number, nowMs: number): StepName {
  const fits = (step: "TEN_SECONDS" | "ONE_MINUTE") =>
    (toMs - fromMs) / stepMs[step] <= maxSteps && nowMs - fromMs <= keptMs[step];
  if (fits("TEN_SECONDS")) return "TEN_SECONDS";
  return fits("ONE_MINUTE") ? "ONE_MINUTE" : "ONE_HOUR";
}

/** The server answers at most this number of steps at once. */
const maxStepsAtOnce = 1_000;

/** A range as requests ask for it: each within the bound, in order, without a step in two of them. */
export function requestsOf({ fromMs, toMs, step }: StepRange): readonly StepRange[] {
  const sliceMs = maxStepsAtOnce * stepMs[step];
  const requests: StepRange[] = [];
  for (let at = fromMs; at < toMs; at += sliceMs) {
    requests.push({ fromMs: at, toMs: Math.min(at + sliceMs, toMs), step });
  }
  return requests;
}

/** What a `datetime-local` input shows and gives: the reader's time zone, to the minute. */
export function toLocalInput(ms: number): string {
  const date = new Date(ms);
  const local = new Date(ms - date.getTimezoneOffset() * minute);
  return local.toISOString().slice(0, 16);
}

/** Why two inputs are no range; null when they are one. */
export function rangeProblem(fromMs: number, toMs: number): string | null {
  if (Number.isNaN(fromMs) || Number.isNaN(toMs)) return "Give both times.";
  if (fromMs >= toMs) return "The first time has to be before the second one.";
  if (toMs - fromMs > 366 * day) return "At most a year can be shown at once.";
  return null;
}
