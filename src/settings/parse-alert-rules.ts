import { z } from "zod";
import { type AlertRule, type Condition, droppedRuleName, unknownRuleName } from "../core/alert-rules.ts";
import { healths } from "../core/health.ts";
import { durationMs } from "./duration.ts";
import { parsed, textOf } from "./fields.ts";
import { parseYaml, yamlFields, yamlList, yamlMap } from "./parse-yaml.ts";

const maxRules = 200;
const maxItems = 50;
const maxDurationMs = 30 * 86_400_000;

const builtIn: readonly unknown[] = [unknownRuleName, droppedRuleName];
/** Labels that every alert has; a rule may not set them. */
const ownLabels: readonly string[] = ["alertname", "queue", "source", "severity"];

const seconds = parsed("expected seconds, or a duration such as 90s, 5m or 1h, of at most 30d", (text) => {
  const ms = durationMs(text, "s");
  return ms !== null && ms <= maxDurationMs ? ms / 1_000 : undefined;
});
const jobs = parsed("expected a number of jobs, 0 or more", (text) =>
  /^\d{1,15}$/.test(text) ? Number(text) : undefined,
);

/** What the number of each condition is. */
const amounts = {
  latency_above: seconds,
  in_order_latency_above: seconds,
  depth_above: jobs,
  overtaken_above: jobs,
  p50_above: seconds,
  p95_above: seconds,
  p99_above: seconds,
} as const;
const amountKeys = Object.keys(amounts) as readonly (keyof typeof amounts)[];
const conditionKeys = [...amountKeys, "health"] as const;

/** UNKNOWN is what the built-in rule QueueUnknown is about. */
const badHealths = healths.filter((health) => health !== "OK" && health !== "UNKNOWN");
const healthsExpected = `expected one or more of ${badHealths.join(", ")}`;
const queuesExpected = `expected 1 to ${maxItems} names of queues, in which * stands for any text and ? for one character`;

const glob = z
  .string(queuesExpected)
  .refine((text) => text !== "" && Buffer.byteLength(text) <= 200, queuesExpected);
const plainText = textOf(/^.{1,1000}$/s, "expected text of 1 to 1000 characters").refine(
  (text) => !text.includes("{{"),
  "expected plain text: there are no templates; notifications carry the facts beside it",
);

function texts(taken: readonly string[]) {
  const name = textOf(
    /^(?!__)[a-zA-Z_]\w{0,99}$/,
    "expected a name of letters, digits and _, that begins with no digit and not with __",
  ).refine((text) => !taken.includes(text), `expected another name: every alert has ${taken.join(", ")}`);
  return yamlMap(name, plainText)
    .max(maxItems, `expected at most ${maxItems} of them`)
    .transform((map): Readonly<Record<string, string>> => Object.fromEntries(map))
    .default({});
}

function notification(defaultForSeconds: number) {
  return {
    for: seconds.default(defaultForSeconds),
    severity: plainText.default("warning"),
    labels: texts(ownLabels),
    annotations: texts([]),
  };
}
type Notification = z.output<z.ZodObject<ReturnType<typeof notification>>>;

const ruleFields = yamlFields({
  name: textOf(/^[\w.:-]{1,100}$/, "expected a name of 1 to 100 letters, digits or any of _ . : -"),
  queues: yamlList(glob, 1, maxItems, queuesExpected),
  ...z.object(amounts).partial().shape,
  health: yamlList(z.enum(badHealths, healthsExpected), 1, maxItems, healthsExpected).optional(),
  /** Its unit depends on the condition. */
  resolve_below: z.unknown().optional(),
  ...notification(0),
});
type RuleFields = z.output<typeof ruleFields>;

/** Also when other things are wrong, so that all mistakes are reported at once. */
const always = { when: () => true };

const fileOfRules = yamlFields({
  rules: yamlList(
    ruleFields.superRefine(checkCondition, always).transform(toRule),
    ...([0, maxRules, `expected a list of at most ${maxRules} rules`] as const),
  ).superRefine(checkNames, always),
  queue_unknown: yamlFields(notification(60)).prefault(new Map()),
  alerts_dropped: yamlFields(notification(0)).prefault(new Map()),
});

/**
 * Reads a file of rules, whose form is in docs/alerts.md; the built-in rules come last.
 *
 * @throws AggregateError with all mistakes, each with its line, and what was expected.
 */
export function parseAlertRules(text: string): readonly AlertRule[] {
  const { rules, queue_unknown, alerts_dropped } = parseYaml(text, fileOfRules).data;
  return [
    ...rules,
    {
      name: unknownRuleName,
      queues: rules.flatMap(({ queues }) => queues),
      condition: { subject: "unknown" },
      ...toNotification(queue_unknown),
    },
    {
      name: droppedRuleName,
      queues: [],
      condition: { subject: "dropped_alerts" },
      ...toNotification(alerts_dropped),
    },
  ];
}

function toRule(fields: RuleFields): AlertRule {
  return {
    name: fields.name,
    queues: fields.queues,
    condition: toCondition(fields),
    ...toNotification(fields),
  };
}

function toNotification({ for: forSeconds, severity, labels, annotations }: Notification) {
  return { forMs: Math.round(forSeconds * 1_000), severity, labels, annotations };
}

function toCondition(fields: RuleFields): Condition {
  const key = amountKeys.find((each) => fields[each] !== undefined);
  if (key === undefined) return { subject: "health", among: fields.health ?? [] };
  const { resolve_below: lower } = fields;
  return {
    subject: key.replace("_above", "") as "latency",
    above: fields[key] ?? 0,
    resolveBelow: lower === undefined ? null : amounts[key].parse(lower),
  };
}

function checkCondition(fields: RuleFields, context: z.RefinementCtx): void {
  const problem = conditionProblem(fields);
  if (problem !== null) context.addIssue({ code: "custom", path: [], ...problem });
}

function conditionProblem(fields: RuleFields) {
  const given = conditionKeys.filter((key) => fields[key] !== undefined);
  const [key] = given;
  if (key === undefined || given.length > 1) {
    const found = given.length === 0 ? "none" : given.join(", ");
    return { message: `expected one condition out of ${conditionKeys.join(", ")}, found ${found}` };
  }
  const path = ["resolve_below"];
  if (fields.resolve_below === undefined) return null;
  if (key === "health") {
    const why = "the alert resolves when the health is another one";
    return { message: `expected no resolve_below beside health: ${why}`, path };
  }
  const { data: lower, error } = amounts[key].safeParse(fields.resolve_below);
  if (error !== undefined) return { message: error.issues[0]?.message ?? "", path };
  const isFitting = lower > 0 && !(lower > Number(fields[key]));
  return isFitting ? null : { message: `expected more than 0, and not more than ${key}`, path };
}

function checkNames(rules: readonly AlertRule[], context: z.RefinementCtx): void {
  const names = new Set(builtIn);
  for (const [i, rule] of rules.entries()) {
    // What is wrong was not made a rule.
    const { name } = rule as Partial<AlertRule>;
    if (typeof name !== "string") continue;
    if (names.has(name)) {
      const why = builtIn.includes(name)
        ? "is built in; queue_unknown and alerts_dropped configure the built-in rules"
        : "is used above";
      const message = `expected a different name for each rule, "${name}" ${why}`;
      context.addIssue({ code: "custom", message, path: [i, "name"] });
    }
    names.add(name);
  }
}
