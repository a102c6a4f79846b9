/** How a queue fares. health/health.ts says when which is meant. */
export const healths = ["OK", "SLOW", "FALLING_BEHIND", "STALLED", "UNKNOWN"] as const;
export type Health = (typeof healths)[number];
