import type { HealthSince } from "../core/alerts.ts";
import type { Health } from "../core/health.ts";

/** How queues fared in the last minutes, as far as it was looked at. */
export interface HealthMemory {
  note(queue: string, health: Health, nowMs: number): void;
  /** Oldest first; empty for a queue that was not looked at. */
  of(queue: string): readonly HealthSince[];
  /** Forgets queues that were not looked at lately, and what is too old. */
  sweep(nowMs: number): void;
}

const keptForMs = 300_000;

export function createHealthMemory(): HealthMemory {
  const queues = new Map<string, { lookedAtMs: number; changes: HealthSince[] }>();
  return {
    note(queue, health, nowMs) {
      const known = queues.get(queue) ?? { lookedAtMs: nowMs, changes: [] };
      queues.set(queue, known);
      known.lookedAtMs = nowMs;
      if (known.changes.at(-1)?.health !== health) known.changes.push({ health, sinceMs: nowMs });
    },
    of: (queue) => queues.get(queue)?.changes ?? [],
    sweep(nowMs) {
      for (const [queue, { lookedAtMs, changes }] of queues) {
        if (lookedAtMs < nowMs - keptForMs) queues.delete(queue);
        // What came next says until when it was so.
        while (changes[1] !== undefined && changes[1].sinceMs < nowMs - keptForMs) changes.shift();
      }
    },
  };
}
