import type { AlertSubject } from "../core/alerts.ts";
import { matchesGlob } from "../core/glob.ts";
import type { Health } from "../core/health.ts";

/** What a rule's queues are held against. */
export type Condition =
  | { readonly subject: "health"; readonly among: readonly Health[] }
  | {
      readonly subject: Exclude<AlertSubject, "health" | "unknown">;
      /** Seconds, or jobs: what is more is too much. */
      readonly above: number;
      /** What fires goes on until it is less than this; null: until it is not above `above` any more. */
      readonly resolveBelow: number | null;
    }
  /** Nobody can tell how the queue stands: of the one rule that nobody has to write. */
  | { readonly subject: "unknown" };

/** One rule of the file: for every queue that it matches an alert of its own. */
export interface AlertRule {
  readonly name: string;
  readonly queues: readonly string[];
  readonly condition: Condition;
  /** For how long the condition has to last before it fires. */
  readonly forMs: number;
  readonly severity: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** The rule that nobody has to write, for every queue that another rule matches. */
export const unknownRuleName = "QueueUnknown";

export function ruleMatches({ queues }: AlertRule, queue: string): boolean {
  return queues.some((glob) => matchesGlob(glob, queue));
}
