import { type Health, healths } from "../core/health.ts";
import { type AlertRule, type Condition, unknownRuleName } from "./rules.ts";
import { createYamlReader, type Place, type YamlReader } from "./yaml-reader.ts";

const mostRules = 200;
const mostItems = 50;
const unitSeconds = { ms: 0.001, s: 1, m: 60, h: 3_600, d: 86_400 } as const;
const longestSeconds = 30 * 86_400;

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
const tellingKeys = ["for", "severity", "labels", "annotations"] as const;
const ruleKeys = ["name", "queues", ...conditionKeys, "resolve_below", ...tellingKeys] as const;
type Fields = Partial<Record<(typeof ruleKeys)[number], Place>>;

/** What a label may not be called, since we say it ourselves. */
const ownLabels: readonly string[] = ["alertname", "queue", "source", "severity"];
/** UNKNOWN is told by the rule that nobody has to write. */
const badHealths: readonly Health[] = healths.filter((health) => health !== "OK" && health !== "UNKNOWN");

/**
 * Reads a file of rules, as README.md tells its form; the rule for queues of which nobody can tell anything stands last.
 *
 * @throws AggregateError with everything that is wrong, each with its line, and what was expected.
 */
export function parseRules(text: string): readonly AlertRule[] {
  const reader = createYamlReader(text);
  const rules = reader.problems().length > 0 ? [] : readFile(reader);
  const problems = reader.problems();
  if (problems.length === 0) return rules;
  throw new AggregateError(problems, problems.join("; "));
}

function readFile(reader: YamlReader): readonly AlertRule[] {
  const top = reader.fields(reader.root, ["rules", "queue_unknown"]);
  if (top === null) return [];
  if (top.rules === undefined) {
    reader.wrong(reader.root, "expected rules: a list of rules");
    return [];
  }
  const places = reader.items(top.rules);
  if (places.length > mostRules)
    reader.wrong(top.rules, `expected at most ${mostRules} rules, found ${places.length}`);
  const names = new Set<string>([unknownRuleName]);
  const rules = places.slice(0, mostRules).map((place) => readRule(reader, place, names));
  const unknown = top.queue_unknown === undefined ? {} : reader.fields(top.queue_unknown, tellingKeys);
  return [
    ...rules.filter((rule) => rule !== null),
    {
      name: unknownRuleName,
      queues: rules.flatMap((rule) => rule?.queues ?? []),
      condition: { subject: "unknown" },
      ...readTelling(reader, unknown ?? {}, 60),
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
    ...readTelling(reader, fields, 0),
  };
}

function readName(reader: YamlReader, rule: Place, { name: place }: Fields, names: Set<string>): string {
  const name = place === undefined ? undefined : reader.scalar(place);
  if (place === undefined || typeof name !== "string" || !/^[\w.:-]{1,100}$/.test(name)) {
    reader.wrong(place ?? rule, "expected a name of 1 to 100 letters, digits or any of _ . : -");
    return "";
  }
  if (names.has(name)) {
    const taken = name === unknownRuleName ? "is ours; queue_unknown says how it is told" : "stands above";
    reader.wrong(place, `expected a name of its own for each rule, "${name}" ${taken}`);
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
  if (items.length === 0 || items.length > mostItems) {
    reader.wrong(place, `expected 1 to ${mostItems} names of queues, found ${items.length}`);
  }
  return items.slice(0, mostItems).map((item) => {
    const glob = reader.scalar(item);
    if (typeof glob === "string" && glob !== "" && Buffer.byteLength(glob) <= 200) return glob;
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
    if (lower !== undefined) reader.wrong(lower, "expected nothing: what is told by health ends with it");
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
    const health = badHealths.find((each) => each === reader.scalar(item));
    if (health !== undefined) return [health];
    reader.wrong(item, expected);
    return [];
  });
}

/** Seconds, or jobs. */
function readAmount(reader: YamlReader, place: Place, key: SubjectKey): number | null {
  if (key !== "depth_above") return readSeconds(reader, place);
  const value = reader.scalar(place);
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  reader.wrong(place, "expected a number of jobs, 0 or more");
  return null;
}

function readSeconds(reader: YamlReader, place: Place): number | null {
  const value = reader.scalar(place);
  const [, amount, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(String(value)) ?? [];
  const seconds =
    amount === undefined ? value : Number(amount) * unitSeconds[unit as keyof typeof unitSeconds];
  if (typeof seconds === "number" && seconds >= 0 && seconds <= longestSeconds) return seconds;
  reader.wrong(place, "expected seconds, or a duration such as 90s, 5m or 1h, of at most 30d");
  return null;
}

function readTelling(reader: YamlReader, fields: Fields, usualSeconds: number) {
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
  if (entries.length > mostItems) reader.wrong(place, `expected at most ${mostItems} of them`);
  const texts: Record<string, string> = {};
  for (const [name, value] of entries.slice(0, mostItems)) {
    if (!/^[a-zA-Z_]\w{0,99}$/.test(name) || name.startsWith("__")) {
      reader.wrong(
        value,
        "expected a name of letters, digits and _, that begins with no digit and not with __",
      );
    } else if (taken.includes(name)) {
      reader.wrong(value, `expected another name: ${taken.join(", ")} are told of every alert`);
    } else texts[name] = readText(reader, value);
  }
  return texts;
}

function readText(reader: YamlReader, place: Place): string {
  const value = reader.scalar(place);
  const text = ["string", "number", "boolean"].includes(typeof value) ? String(value) : "";
  if (text === "" || text.length > 1_000) {
    reader.wrong(place, "expected text of 1 to 1000 characters");
  } else if (text.includes("{{")) {
    reader.wrong(place, "expected plain text: the facts are told beside it, and {{ }} means nothing here");
  }
  return text;
}
