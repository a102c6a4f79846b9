export type Accuracy = "EXACT" | "ESTIMATED" | "LOWER_BOUND" | "INCOMPLETE" | "UNKNOWN";

/** Before the number. EXACT has none. */
const signs: Readonly<
  Record<Exclude<Accuracy, "EXACT">, { readonly sign: string; readonly meaning: string }>
> = {
  ESTIMATED: { sign: "≈", meaning: "about: by a clock that may differ" },
  LOWER_BOUND: { sign: "≥", meaning: "at least" },
  INCOMPLETE: { sign: "±", meaning: "too high or too low: events were lost" },
  UNKNOWN: { sign: "?", meaning: "not known" },
};

/** How far a latency can be trusted. */
export function AccuracySign({ accuracy }: { readonly accuracy: Accuracy }) {
  if (accuracy === "EXACT") return null;
  const { sign, meaning } = signs[accuracy];
  return (
    <span class="accuracy" title={meaning}>
      <span aria-hidden="true">{sign}</span>
      <span class="visually-hidden">{meaning} </span>
    </span>
  );
}
