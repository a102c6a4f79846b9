import type { AlertStatus } from "../core/alerts.ts";
import { headOf, linesOf, type MetricHead, type Sample } from "./metric.ts";

export interface AlertMetric extends MetricHead {
  readonly samples: (status: AlertStatus) => readonly Sample[];
}

const single = (value: number): readonly Sample[] => [{ labels: {}, value }];

/** State of alerts and of their deliveries: the same from all servers that share a Redis. */
export const alertMetrics: readonly AlertMetric[] = [
  {
    name: "queue_latency_alerts",
    otelName: "queue_latency.alerts",
    unit: "{alert}",
    type: "gauge",
    help: "Alerts that have not ended, by state: pending or firing.",
    samples: ({ pending, firing }) => [
      { labels: { state: "pending" }, value: pending },
      { labels: { state: "firing" }, value: firing },
    ],
  },
  {
    name: "queue_latency_alerts_decided_timestamp_seconds",
    otelName: "queue_latency.alerts.decided.timestamp",
    unit: "s",
    type: "gauge",
    help: "When the rules were last evaluated, by Redis's clock. Absent while they never were.",
    samples: ({ decidedAtMs }) => (decidedAtMs === null ? [] : single(decidedAtMs / 1_000)),
  },
  {
    name: "queue_latency_alerts_ignored_total",
    otelName: "queue_latency.alerts.ignored",
    unit: "{alert}",
    type: "counter",
    help: "Alerts that were dropped because there were too many.",
    samples: ({ ignored }) => single(ignored),
  },
  {
    name: "queue_latency_alert_outbox",
    otelName: "queue_latency.alert.outbox",
    unit: "{notification}",
    type: "gauge",
    help: "Notifications that a webhook has not accepted yet.",
    samples: ({ receivers }) =>
      receivers
        .filter(({ receiver }) => receiver.startsWith("webhook"))
        .map(({ receiver, waiting }) => ({ labels: { receiver }, value: waiting })),
  },
  {
    name: "queue_latency_alerts_unreadable",
    otelName: "queue_latency.alerts.unreadable",
    unit: "{record}",
    type: "gauge",
    help: "Records in Redis that are not alerts, and are skipped.",
    samples: ({ unreadable }) => single(unreadable),
  },
  {
    name: "queue_latency_alert_deliveries_total",
    otelName: "queue_latency.alert.deliveries",
    unit: "{delivery}",
    type: "counter",
    help: "Deliveries to receivers of alerts, by result: delivered and failed requests, and dropped notifications, which were given up.",
    samples: ({ receivers }) =>
      receivers.flatMap(({ receiver, delivered, failed, dropped }) =>
        Object.entries({ delivered, failed, dropped }).map(([result, value]) => ({
          labels: { receiver, result },
          value,
        })),
      ),
  },
];

/** For Prometheus. */
export function alertSeries(status: AlertStatus): string {
  return alertMetrics.map((metric) => headOf(metric) + linesOf(metric.name, metric.samples(status))).join("");
}
