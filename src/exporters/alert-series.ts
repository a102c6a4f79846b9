import type { AlertStatus } from "../core/alerts.ts";
import { escaped, headOf } from "./queue-series.ts";

interface AlertMetric {
  readonly name: string;
  readonly type: "gauge" | "counter";
  readonly help: string;
  /** By labels, with their braces; "" where there are none. */
  readonly values: (status: AlertStatus) => readonly (readonly [labels: string, value: number])[];
}

const metrics: readonly AlertMetric[] = [
  {
    name: "queue_latency_alerts",
    type: "gauge",
    help: "Alerts that have not ended, by state: pending or firing.",
    values: ({ pending, firing }) => [
      ['{state="pending"}', pending],
      ['{state="firing"}', firing],
    ],
  },
  {
    name: "queue_latency_alerts_decided_timestamp_seconds",
    type: "gauge",
    help: "When the rules were last evaluated, by Redis's clock. Absent while they never were.",
    values: ({ decidedAtMs }) => (decidedAtMs === null ? [] : [["", decidedAtMs / 1_000]]),
  },
  {
    name: "queue_latency_alerts_ignored_total",
    type: "counter",
    help: "Alerts that were dropped because there were too many.",
    values: ({ ignored }) => [["", ignored]],
  },
  {
    name: "queue_latency_alert_outbox",
    type: "gauge",
    help: "Notifications that a webhook has not accepted yet.",
    values: ({ receivers }) =>
      receivers
        .filter(({ receiver }) => receiver.startsWith("webhook"))
        .map(({ receiver, waiting }) => [`{receiver="${escaped(receiver)}"}`, waiting] as const),
  },
  {
    name: "queue_latency_alerts_unreadable",
    type: "gauge",
    help: "Records in Redis that are not alerts, and are skipped.",
    values: ({ unreadable }) => [["", unreadable]],
  },
  {
    name: "queue_latency_alert_deliveries_total",
    type: "counter",
    help: "Deliveries to receivers of alerts, by result: delivered and failed requests, and dropped notifications, which were given up.",
    values: ({ receivers }) =>
      receivers.flatMap(({ receiver, delivered, failed, dropped }) =>
        Object.entries({ delivered, failed, dropped }).map(
          ([result, count]) => [`{receiver="${escaped(receiver)}",result="${result}"}`, count] as const,
        ),
      ),
  },
];

/** State of alerts and of their deliveries for Prometheus: the same from all servers that share a Redis. */
export function alertSeries(status: AlertStatus): string {
  return metrics
    .map((metric) => {
      const lines = metric.values(status).map(([labels, value]) => `${metric.name}${labels} ${value}\n`);
      return headOf(metric) + lines.join("");
    })
    .join("");
}
