import type { AlertSubject } from "./alerts.ts";
import { createGlob } from "./glob.ts";
import type { Health } from "./health.ts";

/** What a rule's queues are compared with. */
export type Condition =
  | { readonly subject: "health"; readonly among: readonly Health[] }
  | {
      readonly subject: Exclude<AlertSubject, "health" | "unknown" | "dropped_alerts">;
      /** In seconds or jobs: the condition holds for a greater value. */
      readonly above: number;
      /** An alert that fires resolves below this; null: as soon as the value is not above `above`. */
      readonly resolveBelow: number | null;
    }
  /** Of the built-in rules: the state of the queue is not known; alerts were dropped. */
  | { readonly subject: "unknown" }
  | { readonly subject: "dropped_alerts" };

/** One rule of the file. Each queue that it matches has an alert of its own. */
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

/** The built-in rule for every queue that another rule matches: it fires when the state of the queue is not known. */
export const unknownRuleName = "QueueUnknown";
/** The built-in rule that fires when there are more alerts than are kept. */
export const droppedRuleName = "AlertsDropped";

/** Compiles the globs of all rules. @returns the rules that match a queue, in their order. */
export function createRuleMatcher(rules: readonly AlertRule[]): (queue: string) => readonly AlertRule[] {
  const compiled = rules.map((rule) => ({ rule, globs: rule.queues.map(createGlob) }));
  return (queue) =>
    compiled.flatMap(({ rule, globs }) => (globs.some((matches) => matches(queue)) ? [rule] : []));
}
