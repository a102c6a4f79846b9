export type Health = "OK" | "SLOW" | "FALLING_BEHIND" | "STALLED" | "UNKNOWN";

/** Worst first. */
export const healths: readonly Health[] = ["STALLED", "FALLING_BEHIND", "SLOW", "UNKNOWN", "OK"];

export const healthWords: Readonly<Record<Health, string>> = {
  STALLED: "Stalled",
  FALLING_BEHIND: "Falling behind",
  SLOW: "Slow",
  UNKNOWN: "Unknown",
  OK: "OK",
};
