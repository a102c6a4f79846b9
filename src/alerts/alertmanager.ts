import type { Alert } from "../core/alerts.ts";
import { type WallClock, wallClock } from "../runtime/clock.ts";
import { alertFacts, alertValue } from "./make-alert.ts";

/** As Alertmanager's API v2 takes it (openapi.yaml, postableAlert). */
interface PostableAlert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly startsAt: string;
  readonly endsAt: string;
}

/** Alertmanager resolves an alert by itself when it was sent nothing for so long: Redis may be away meanwhile. */
const expiresAfterMs = 3_600_000;
/** For so long it is sent that an alert has ended, as Prometheus does: an Alertmanager may have been away. */
const resolvedForMs = 900_000;
const alertsPerRequest = 500;

/**
 * All that an Alertmanager has to know, in bodies of up to 500 alerts: what fires, and what ended lately. Alertmanager identifies
 * an alert by its labels, so one that fires again goes before the one that has ended.
 *
 * An alert fires there while `endsAt` is in the future by Alertmanager's clock. So what fires ends an hour after the later of this
 * machine's time and Redis's, and what is resolved ended at the earlier of the two.
 *
 * @param resolved newest first. @param redisNowMs null while it is not known.
 */
export function postableAlerts(
  active: Iterable<Alert>,
  resolved: readonly Alert[],
  redisNowMs: number | null,
  wall: WallClock = wallClock,
): string[] {
  const wallNowMs = wall.epochMs();
  const nowMs = redisNowMs ?? wallNowMs;
  const byLabels = new Map<string, PostableAlert>();
  const add = (alert: Alert, endsAtMs: number) => {
    const labels = labelsOf(alert);
    const key = JSON.stringify(Object.entries(labels).sort());
    if (!byLabels.has(key)) byLabels.set(key, postable(alert, labels, endsAtMs));
  };
  for (const alert of active) {
    if (alert.state === "FIRING") add(alert, Math.max(nowMs, wallNowMs) + expiresAfterMs);
  }
  for (const alert of resolved) {
    const endedAtMs = alert.endedAtMs ?? nowMs;
    if (endedAtMs > nowMs - resolvedForMs) add(alert, Math.min(endedAtMs, wallNowMs));
  }
  const all = [...byLabels.values()];
  const bodies: string[] = [];
  for (let from = 0; from < all.length; from += alertsPerRequest) {
    bodies.push(JSON.stringify(all.slice(from, from + alertsPerRequest)));
  }
  return bodies;
}

function labelsOf({ rule, queue, severity, labels }: Alert): Readonly<Record<string, string>> {
  return { ...labels, alertname: rule, ...(queue === null ? {} : { queue }), severity };
}

function postable(alert: Alert, labels: PostableAlert["labels"], endsAtMs: number): PostableAlert {
  const startsAtMs = Math.min(alert.firedAtMs ?? alert.sinceMs, endsAtMs);
  const { threshold, facts } = alert;
  const value = alertValue(alert);
  const measured = {
    ...(value === null ? {} : { value: String(value) }),
    ...(threshold === null ? {} : { threshold: String(threshold) }),
    ...(facts === null ? {} : { facts: JSON.stringify(alertFacts(facts)) }),
  };
  return {
    labels,
    annotations: { ...measured, ...alert.annotations },
    startsAt: new Date(startsAtMs).toISOString(),
    endsAt: new Date(endsAtMs).toISOString(),
  };
}

/** Where alerts are posted, below the URL of an Alertmanager. */
export function alertsUrl(url: string): string {
  const target = new URL(url);
  target.pathname = `${target.pathname.replace(/\/+$/, "")}/api/v2/alerts`;
  return target.href;
}
