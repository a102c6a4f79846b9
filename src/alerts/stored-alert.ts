import { z } from "zod";
import { type Alert, alertEnds, alertStates, alertSubjects } from "../core/alerts.ts";
import { healths } from "../core/health.ts";
import { accuracies } from "../core/snapshot.ts";

/** What a `Date` can be made of. */
const instant = z.number().min(-8.64e15).max(8.64e15);
const texts = z.record(z.string(), z.string());

const acknowledgement = z.object({ atMs: instant, by: z.string() });
const facts = z.object({
  measuredAtMs: instant,
  latencyMs: z.number().nullable(),
  oldestSinceMs: instant.nullable(),
  depth: z.int32().nullable(),
  // Alerts of older versions have none of these.
  depthIsLowerBound: z.boolean().optional(),
  overtaken: z.int32().nullish(),
  inOrderLatencyMs: z.number().nullish(),
  accuracy: z.enum(accuracies),
  throughput: z
    .object({
      enqueuedPerSecond: z.number(),
      dequeuedPerSecond: z.number(),
      isLowerBound: z.boolean().optional(),
    })
    .nullable(),
  health: z.array(z.object({ health: z.enum(healths), sinceMs: instant })),
});
const alert = z.object({
  id: z.string(),
  rule: z.string(),
  queue: z.string().nullable(),
  state: z.enum(alertStates),
  sinceMs: instant,
  firedAtMs: instant.nullable(),
  endedAtMs: instant.nullable(),
  end: z.enum(alertEnds).nullable(),
  subject: z.enum(alertSubjects),
  value: z.number().nullable(),
  threshold: z.number().nullable(),
  severity: z.string(),
  labels: texts,
  annotations: texts,
  facts: facts.nullable(),
});

/**
 * An alert as Redis keeps it: a line with the acknowledgement, empty without one, and a line with the alert, both JSON.
 *
 * @throws Error when the record is not one of an alert.
 */
export function parseStoredAlert(record: string): Alert {
  const [acknowledged = "", json = ""] = record.split("\n", 2);
  return {
    ...alert.parse(JSON.parse(json)),
    acknowledgement: acknowledged === "" ? null : acknowledgement.parse(JSON.parse(acknowledged)),
  };
}

/** The second line of its record; the first is written when it is acknowledged. */
export function storedAlertLine({ acknowledgement: _, ...alert }: Alert): string {
  return JSON.stringify(alert);
}
