import { type AlertRule, type Condition, droppedRuleName, unknownRuleName } from "../core/alert-rules.ts";
import { type Health, healths } from "../core/health.ts";
import { durationMs } from "./duration.ts";
import { createYamlReader, type Place, type YamlReader } from "./yaml-reader.ts";

const maxRules = 200;
const maxItems = 50;
const maxDurationMs = 30 * 86_400_000;

const builtIn: readonly string[] = [unknownRuleName, droppedRuleName];

const subjects = {
  latency_above: "latency",
  depth_above: "depth",
  p50_above: "p50",
  p95_above: "p95",
  p99_above: "p99",
} as const;
type SubjectKey = keyof typeof subjects;
const subjectKeys = Object.keys(subjects) as readonly SubjectKey[];
const conditionKeys = [...subjectKeys, "health"] as const;
const notificationKeys = ["for", "severity", "labels", "annotations"] as const;
const ruleKeys = ["name", "queues", ...conditionKeys, "resolve_below", ...notificationKeys] as const;
type Fields = Partial<Record<(typeof ruleKeys)[number], Place>>;

/** Labels that every alert has; a rule may not set them. */
const ownLabels: readonly string[] = ["alertname", "queue", "source", "severity"];
/** UNKNOWN is what the built-in rule QueueUnknown is about. */
const badHealths: readonly Health[] = healths.filter((health) => health !== "OK" && health !== "UNKNOWN");

/**
 * Reads a file of rules, whose form is in docs/alerts.md; the built-in rules come last.
 *
 * @throws AggregateError with all mistakes, each with its line, and what was expected.
 */
export function parseAlertRules(text: string): readonly AlertRule[] {
  const reader = createYamlReader(text);
  const rules = reader.problems().length > 0 ? [] : readFile(reader);
  const problems = reader.problems();
  if (problems.length === 0) return rules;
  throw new AggregateError(problems, problems.join("; "));
}

function readFile(reader: YamlReader): readonly AlertRule[] {
  const top = reader.fields(reader.root, ["rules", "queue_unknown", "alerts_dropped"]);
  if (top === null) return [];
  if (top.rules === undefined) {
    reader.wrong(reader.root, "expected rules: a list of rules");
    return [];
  }
  const places = reader.items(top.rules);
  if (places.length > maxRules)
    reader.wrong(top.rules, `expected at most ${maxRules} rules, found ${places.length}`);
  const names = new Set<string>(builtIn);
  const rules = places.slice(0, maxRules).map((place) => readRule(reader, place, names));
  const notificationOf = (place: Place | undefined, usualSeconds: number) => {
    const fields = place === undefined ? {} : reader.fields(place, notificationKeys);
    return readNotification(reader, fields ?? {}, usualSeconds);
  };
  return [
    ...rules.filter((rule) => rule !== null),
    {
      name: unknownRuleName,
      queues: rules.flatMap((rule) => rule?.queues ?? []),
      condition: { subject: "unknown" },
      ...notificationOf(top.queue_unknown, 60),
    },
    {
      name: droppedRuleName,
      queues: [],
      condition: { subject: "dropped_alerts" },
      ...notificationOf(top.alerts_dropped, 0),
    },
  ];
}

function readRule(reader: YamlReader, place: Place, names: Set<string>): AlertRule | null {
  const fields = reader.fields(place, ruleKeys);
  if (fields === null) return null;
  return {
    name: readName(reader, place, fields, names),
    queues: readQueues(reader, place, fields),
    condition: readCondition(reader, place, fields),
    ...readNotification(reader, fields, 0),
  };
}

function readName(reader: YamlReader, rule: Place, { name: place }: Fields, names: Set<string>): string {
  const name = place === undefined ? "" : reader.text(place);
  if (place === undefined || !/^[\w.:-]{1,100}$/.test(name)) {
    reader.wrong(place ?? rule, "expected a name of 1 to 100 letters, digits or any of _ . : -");
    return "";
  }
  if (names.has(name)) {
    const why = builtIn.includes(name)
      ? "is built in; queue_unknown and alerts_dropped configure the built-in rules"
      : "is used above";
    reader.wrong(place, `expected a different name for each rule, "${name}" ${why}`);
  }
  names.add(name);
  return name;
}

function readQueues(reader: YamlReader, rule: Place, { queues: place }: Fields): readonly string[] {
  const expected = "expected names of queues, in which * stands for any text and ? for one character";
  if (place === undefined) {
    reader.wrong(rule, `queues: ${expected}`);
    return [];
  }
  const items = reader.items(place);
  if (items.length === 0 || items.length > maxItems) {
    reader.wrong(place, `expected 1 to ${maxItems} names of queues, found ${items.length}`);
  }
  return items.slice(0, maxItems).map((item) => {
    const glob = reader.text(item);
    if (glob !== "" && Buffer.byteLength(glob) <= 200) return glob;
    reader.wrong(item, expected);
    return "";
  });
}

function readCondition(reader: YamlReader, rule: Place, fields: Fields): Condition {
  const given = conditionKeys.filter((key) => fields[key] !== undefined);
  const [key] = given;
  if (key === undefined || given.length > 1) {
    const found = given.length === 0 ? "none" : given.join(", ");
    reader.wrong(rule, `expected one condition out of ${conditionKeys.join(", ")}, found ${found}`);
    for (const each of given) {
      if (each === "health") readHealths(reader, fields[each] as Place);
      else readAmount(reader, fields[each] as Place, each);
    }
    return { subject: "health", among: [] };
  }
  const place = fields[key] as Place;
  const lower = fields.resolve_below;
  if (key === "health") {
    if (lower !== undefined)
      reader.wrong(
        lower,
        "expected no resolve_below beside health: the alert resolves when the health is another one",
      );
    return { subject: "health", among: readHealths(reader, place) };
  }
  const above = readAmount(reader, place, key);
  const resolveBelow = lower === undefined ? null : readAmount(reader, lower, key);
  if (above !== null && resolveBelow !== null && (resolveBelow <= 0 || resolveBelow > above)) {
    reader.wrong(lower as Place, `expected more than 0, and not more than ${key}`);
  }
  return { subject: subjects[key], above: above ?? 0, resolveBelow };
}

function readHealths(reader: YamlReader, place: Place): readonly Health[] {
  const expected = `expected one or more of ${badHealths.join(", ")}`;
  const items = reader.items(place);
  if (items.length === 0) reader.wrong(place, expected);
  return items.flatMap((item) => {
    const health = badHealths.find((each) => each === reader.text(item));
    if (health !== undefined) return [health];
    reader.wrong(item, expected);
    return [];
  });
}

/** Seconds, or jobs. */
function readAmount(reader: YamlReader, place: Place, key: SubjectKey): number | null {
  if (key !== "depth_above") return readSeconds(reader, place);
  const text = reader.text(place);
  if (/^\d{1,15}$/.test(text)) return Number(text);
  reader.wrong(place, "expected a number of jobs, 0 or more");
  return null;
}

function readSeconds(reader: YamlReader, place: Place): number | null {
  const ms = durationMs(reader.text(place), "s");
  if (ms !== null && ms <= maxDurationMs) return ms / 1_000;
  reader.wrong(place, "expected seconds, or a duration such as 90s, 5m or 1h, of at most 30d");
  return null;
}

function readNotification(reader: YamlReader, fields: Fields, usualSeconds: number) {
  const seconds = fields.for === undefined ? usualSeconds : readSeconds(reader, fields.for);
  return {
    forMs: Math.round((seconds ?? 0) * 1_000),
    severity: fields.severity === undefined ? "warning" : readText(reader, fields.severity),
    labels: fields.labels === undefined ? {} : readTexts(reader, fields.labels, ownLabels),
    annotations: fields.annotations === undefined ? {} : readTexts(reader, fields.annotations, []),
  };
}

function readTexts(reader: YamlReader, place: Place, taken: readonly string[]): Record<string, string> {
  const entries = reader.entries(place) ?? [];
  if (entries.length > maxItems) reader.wrong(place, `expected at most ${maxItems} of them`);
  const texts: Record<string, string> = {};
  for (const [name, value] of entries.slice(0, maxItems)) {
    if (!/^[a-zA-Z_]\w{0,99}$/.test(name) || name.startsWith("__")) {
      reader.wrong(
        value,
        "expected a name of letters, digits and _, that begins with no digit and not with __",
      );
    } else if (taken.includes(name)) {
      reader.wrong(value, `expected another name: every alert has ${taken.join(", ")}`);
    } else texts[name] = readText(reader, value);
  }
  return texts;
}

function readText(reader: YamlReader, place: Place): string {
  const text = reader.text(place);
  if (text === "" || text.length > 1_000) {
    reader.wrong(place, "expected text of 1 to 1000 characters");
  } else if (text.includes("{{")) {
    reader.wrong(
      place,
      "expected plain text: there are no templates; notifications carry the facts beside it",
    );
  }
  return text;
}
