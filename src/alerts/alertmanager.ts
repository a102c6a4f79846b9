import type { Alert } from "../core/alerts.ts";
import { wallClock } from "../core/clock.ts";
import { toldFacts } from "./make-alert.ts";

/** As Alertmanager's API v2 takes it (openapi.yaml, postableAlert). */
interface PostableAlert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly startsAt: string;
  readonly endsAt: string;
}

/** Alertmanager ends an alert by itself when nobody has told of it for so long: Redis may be away meanwhile. */
const outlivesUsMs = 3_600_000;
/** For so long it is told again that an alert has ended, as Prometheus does: an Alertmanager may have been away. */
const resolvedForMs = 900_000;
const alertsPerRequest = 500;

/**
 * All that an Alertmanager has to be told, in bodies of up to 500 alerts: what fires, and what ended lately. An alert is known by
 * its labels there, so one that fires again goes before the one that has ended. Times are this machine's where Redis's are ahead.
 *
 * @param resolved newest first.
 */
export function postableAlerts(
  active: Iterable<Alert>,
  resolved: readonly Alert[],
  clock = wallClock,
): string[] {
  const nowMs = clock.epochMs();
  const byLabels = new Map<string, PostableAlert>();
  const add = (alert: Alert, endsAtMs: number) => {
    const labels = labelsOf(alert);
    const key = JSON.stringify(Object.entries(labels).sort());
    if (!byLabels.has(key)) byLabels.set(key, postable(alert, labels, endsAtMs));
  };
  for (const alert of active) if (alert.state === "FIRING") add(alert, nowMs + outlivesUsMs);
  for (const alert of resolved) {
    const endedAtMs = Math.min(alert.endedAtMs ?? nowMs, nowMs);
    if (endedAtMs > nowMs - resolvedForMs) add(alert, endedAtMs);
  }
  const all = [...byLabels.values()];
  const bodies: string[] = [];
  for (let from = 0; from < all.length; from += alertsPerRequest) {
    bodies.push(JSON.stringify(all.slice(from, from + alertsPerRequest)));
  }
  return bodies;
}

function labelsOf({ rule, queue, severity, labels }: Alert): Readonly<Record<string, string>> {
  return { ...labels, alertname: rule, queue, severity };
}

function postable(alert: Alert, labels: PostableAlert["labels"], endsAtMs: number): PostableAlert {
  const startsAtMs = Math.min(alert.firedAtMs ?? alert.sinceMs, endsAtMs);
  const { value, threshold, facts } = alert;
  const told = {
    ...(value === null ? {} : { value: String(value) }),
    ...(threshold === null ? {} : { threshold: String(threshold) }),
    ...(facts === null ? {} : { facts: JSON.stringify(toldFacts(facts)) }),
  };
  return {
    labels,
    annotations: { ...told, ...alert.annotations },
    startsAt: new Date(startsAtMs).toISOString(),
    endsAt: new Date(endsAtMs).toISOString(),
  };
}

/** Where alerts are posted, behind the address of an Alertmanager. */
export function alertsUrl(url: string): string {
  const target = new URL(url);
  target.pathname = `${target.pathname.replace(/\/+$/, "")}/api/v2/alerts`;
  return target.href;
}
