import {
  type AlertStatus,
  maxActiveAlerts,
  maxOutbox,
  maxRefusals,
  type ReceiverStatus,
} from "../core/alerts.ts";
import { AppError } from "../core/errors.ts";
import { checkQueueName } from "../core/queue-name.ts";
import type { FieldCost } from "../limits/field-cost.ts";
import { AlertStateEnum, AlertType } from "./alert-types.ts";
import { builder } from "./builder.ts";
import { checkBounds, pageCost } from "./queue-arguments.ts";

const maxListed = 1000;

builder.queryField("alerts", (t) =>
  t.field({
    type: [AlertType],
    args: {
      state: t.arg({
        type: AlertStateEnum,
        description: "Only those in this state. Default: those that are PENDING or FIRING.",
      }),
      queue: t.arg.string({ description: "Only those of the queue with this name." }),
      first: t.arg.int({
        required: true,
        defaultValue: 50,
        description: `Maximum number of alerts, 0 to ${maxListed}.`,
      }),
    },
    complexity({ queue, first }): FieldCost {
      if (queue != null) checkQueueName(queue, "queue");
      checkBounds("first", first, 0, maxListed);
      return pageCost(first);
    },
    description:
      "Alerts, the newest first, as they were at most half a second ago. Of the RESOLVED ones the last 1000 are kept. Costs one point for each ten of `first`, at least one. Errors: BAD_USER_INPUT.",
    resolve: (_, { state, queue, first }, { alerts }) =>
      alerts.list({ state: state ?? null, queue: queue ?? null, first }),
  }),
);

builder.subscriptionField("alertChanged", (t) =>
  t.field({
    type: AlertType,
    args: {
      queue: t.arg.string({ description: "Only alerts of the queue with this name." }),
      first: t.arg.int({
        required: true,
        defaultValue: 100,
        description: `With how many of the alerts that are PENDING or FIRING it begins, 0 to ${maxListed}: FIRING ones first, then the newest.`,
      }),
    },
    complexity({ queue, first }): FieldCost {
      if (queue != null) checkQueueName(queue, "queue");
      checkBounds("first", first, 0, maxListed);
      return pageCost(first);
    },
    description:
      "At once the alerts that are PENDING or FIRING, at most `first`, one in each push; then each alert whose state or acknowledgement changes. A slow reader gets the newest state of each and skips what it missed. Charged once, when it starts: one point for each ten of `first`, at least one. Errors: TOO_MANY_SUBSCRIPTIONS, NO_ALERT_RULES, BAD_USER_INPUT.",
    subscribe: (_, { queue, first }, { alerts }) => alerts.watch({ queue: queue ?? null }, first),
    resolve: (alert) => alert,
  }),
);

builder.mutationField("acknowledgeAlert", (t) =>
  t.field({
    type: AlertType,
    nullable: true,
    args: { id: t.arg.id({ required: true, description: "The alert's id." }) },
    extensions: { scope: "admin" },
    complexity({ id }) {
      if (!/^[\w-]{1,50}$/.test(String(id))) {
        throw new AppError("BAD_USER_INPUT", "id: expected the id of an alert");
      }
      return 1;
    },
    description:
      "Acknowledges an alert; the first acknowledgement stays. Notifications go on: use silences of Alertmanager to stop them. Answers the alert; null when no alert has this id, or it has ended. Costs one point; needs the scope `admin`. Errors: BAD_USER_INPUT.",
    resolve: (_, { id }, { alerts, client }) => alerts.acknowledge(String(id), client),
  }),
);

const ReceiverStatusType = builder.objectRef<ReceiverStatus>("ReceiverStatus").implement({
  description: "Deliveries to one receiver of alerts, summed over all servers.",
  fields: (t) => ({
    receiver: t.exposeString("receiver", {
      description:
        'Name of the receiver: "webhook", "webhook 2" and so on in the order of ALERT_WEBHOOK_URL, "heartbeat", or "alertmanager" and the host of its URL.',
    }),
    waiting: t.exposeInt("waiting", {
      description:
        "Notifications that a webhook has not accepted yet. 0 for other receivers, which are sent the current state.",
    }),
    delivered: t.exposeInt("delivered", { description: "Requests that it answered with 2xx." }),
    failed: t.exposeInt("failed", {
      description: "Requests that it answered otherwise, or not at all. They are retried.",
    }),
    dropped: t.exposeInt("dropped", {
      description: `Notifications that were given up: refused ${maxRefusals} times (3xx or 4xx other than 408, 425 and 429), older than a day, or the oldest of more than ${maxOutbox}.`,
    }),
  }),
});

const AlertStatusType = builder.objectRef<AlertStatus>("AlertStatus").implement({
  description: "State of the evaluation of alert rules, and of the delivery of notifications.",
  fields: (t) => ({
    rules: t.exposeInt("rules", {
      description: "How many rules this server has, with the built-in ones. 0 without ALERTS_FILE.",
    }),
    pending: t.exposeInt("pending", { description: "How many alerts are PENDING." }),
    firing: t.exposeInt("firing", { description: "How many alerts are FIRING." }),
    measuredAt: t.field({
      type: "DateTime",
      description:
        "The instant of this answer, by Redis's clock. A client compares `decidedAt` with it rather than with its own clock.",
      resolve: ({ measuredAtMs }) => new Date(measuredAtMs),
    }),
    decidedAt: t.field({
      type: "DateTime",
      nullable: true,
      description:
        "When the rules were last evaluated, by Redis's clock: a second or two ago. Null when no server has evaluated rules within a week.",
      resolve: ({ decidedAtMs }) => (decidedAtMs === null ? null : new Date(decidedAtMs)),
    }),
    outbox: t.exposeInt("outbox", { description: "Notifications that webhooks have not accepted yet." }),
    ignored: t.exposeInt("ignored", {
      description: `Alerts that were dropped because there were ${maxActiveAlerts} others. While alerts are dropped, the built-in rule AlertsDropped fires.`,
    }),
    unreadable: t.exposeInt("unreadable", {
      description: "Records in Redis that are not alerts. They are skipped, and the log names them.",
    }),
    receivers: t.field({
      type: [ReceiverStatusType],
      description: "Receivers of the server that evaluates the rules.",
      resolve: ({ receivers }) => [...receivers],
    }),
  }),
});

builder.queryField("alertStatus", (t) =>
  t.field({
    type: AlertStatusType,
    complexity: () => 1,
    description:
      "State of the evaluation of alert rules, and of the delivery of notifications. Costs one point.",
    resolve: (_, __, { alerts }) => alerts.status(),
  }),
);
