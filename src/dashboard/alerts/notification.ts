import { isolated } from "../format/isolated.ts";
import { type ExplainedAlert, explainCondition } from "./explain-alert.ts";

/** What a notification of the desktop says. */
export interface AlertNotification {
  readonly title: string;
  readonly body: string;
  /** It replaces an earlier one with the same tag. */
  readonly tag: string;
}

/** What a notification reads of an alert. */
export interface AnnouncedAlert extends ExplainedAlert {
  readonly id: string;
  readonly rule: string;
  readonly queue: string | null;
  readonly annotations: readonly { readonly name: string; readonly text: string }[];
}

/** Of more alerts at once there is one notification: a screen full of them hides what they are about. */
const maxApart = 3;
const maxNamed = 5;

/** The notifications of alerts that fire at the same time. */
export function notificationsOf(alerts: readonly AnnouncedAlert[]): readonly AlertNotification[] {
  if (alerts.length <= maxApart) return alerts.map(notificationOf);
  const names = alerts.slice(0, maxNamed).map(nameOf);
  const rest = alerts.length - names.length;
  return [
    {
      title: `${alerts.length} alerts fire`,
      body: [...names, ...(rest > 0 ? [`and ${rest} more`] : [])].join("\n"),
      tag: "queue-latency:alerts",
    },
  ];
}

function notificationOf(alert: AnnouncedAlert): AlertNotification {
  const summary = alert.annotations.find(({ name }) => name === "summary")?.text;
  const body = [summary, explainCondition(alert)].filter((line) => line !== undefined).join("\n");
  return { title: nameOf(alert), body, tag: alert.id };
}

function nameOf({ rule, queue }: AnnouncedAlert): string {
  return queue === null ? rule : `${rule}: ${isolated(queue)}`;
}
