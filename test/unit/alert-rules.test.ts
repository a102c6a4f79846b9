import { describe, expect, test } from "vitest";
import { createRuleMatcher } from "../../src/core/alert-rules.ts";
import { parseAlertRules } from "../../src/settings/parse-alert-rules.ts";

const rule = (lines: string) => `rules:\n  - name: A\n    queues: mail\n${lines.replace(/^/gm, "    ")}\n`;

function problemsOf(text: string): readonly string[] {
  try {
    parseAlertRules(text);
  } catch (error) {
    return (error as AggregateError).errors;
  }
  return [];
}

describe("a file of rules", () => {
  test("has all of a rule", () => {
    const text = `
rules:
  - name: MailIsLate
    queues: [mail, "mail-*"]
    latency_above: 1m
    resolve_below: 20
    for: 2m
    severity: critical
    labels: { team: payments, pager: 7, code: 007, version: 1.10, on_call: yes, at: 2026-11-28, octal: 0o17, nothing: ~ }
    annotations:
      summary: Customers wait for their mail.
queue_unknown: { for: 90s, severity: info }
alerts_dropped: { severity: 1 }
`;
    expect(parseAlertRules(text)).toEqual([
      {
        name: "MailIsLate",
        queues: ["mail", "mail-*"],
        condition: { subject: "latency", above: 60, resolveBelow: 20 },
        forMs: 120_000,
        severity: "critical",
        labels: {
          ...{ team: "payments", pager: "7", code: "007", version: "1.10", on_call: "yes" },
          ...{ at: "2026-11-28", octal: "0o17", nothing: "~" },
        },
        annotations: { summary: "Customers wait for their mail." },
      },
      {
        name: "QueueUnknown",
        queues: ["mail", "mail-*"],
        condition: { subject: "unknown" },
        forMs: 90_000,
        severity: "info",
        labels: {},
        annotations: {},
      },
      {
        name: "AlertsDropped",
        queues: [],
        condition: { subject: "dropped_alerts" },
        forMs: 0,
        severity: "1",
        labels: {},
        annotations: {},
      },
    ]);
  });

  test.each([
    { lines: "latency_above: 1.5", condition: { subject: "latency", above: 1.5, resolveBelow: null } },
    { lines: "latency_above: 250ms", condition: { subject: "latency", above: 0.25, resolveBelow: null } },
    {
      lines: "in_order_latency_above: 1m\nresolve_below: 30",
      condition: { subject: "in_order_latency", above: 60, resolveBelow: 30 },
    },
    { lines: "overtaken_above: 0", condition: { subject: "overtaken", above: 0, resolveBelow: null } },
    { lines: "depth_above: 0", condition: { subject: "depth", above: 0, resolveBelow: null } },
    {
      lines: "p95_above: 2h\nresolve_below: 90m",
      condition: { subject: "p95", above: 7_200, resolveBelow: 5_400 },
    },
    { lines: "health: STALLED", condition: { subject: "health", among: ["STALLED"] } },
    {
      lines: "health: [SLOW, FALLING_BEHIND]",
      condition: { subject: "health", among: ["SLOW", "FALLING_BEHIND"] },
    },
  ])("takes $lines", ({ lines, condition }) => {
    expect(parseAlertRules(rule(lines))[0]).toMatchObject({
      condition,
      forMs: 0,
      severity: "warning",
      labels: {},
    });
  });

  test("says of a label once what several rules have, with YAML's own means", () => {
    const text = `rules:
  - { name: A, queues: a, depth_above: 1, labels: &ours { team: x } }
  - { name: B, queues: b, depth_above: 1, labels: *ours }
`;
    expect(parseAlertRules(text)[1]).toMatchObject({ name: "B", labels: { team: "x" } });
  });

  test.each([
    { text: rule(""), line: 2, expected: "expected one condition", why: "nothing to fire on" },
    {
      text: rule("latency_above: 1\ndepth_above: 2"),
      line: 2,
      expected: "found latency_above, depth_above",
      why: "which one?",
    },
    {
      text: rule("latency_above: soon"),
      line: 4,
      expected: "expected seconds, or a duration",
      why: "no number",
    },
    {
      text: rule("latency_above: -1"),
      line: 4,
      expected: "expected seconds",
      why: "no latency is less than 0",
    },
    { text: rule("latency_above: 31d"), line: 4, expected: "at most 30d", why: "longer than anything waits" },
    {
      text: rule("depth_above: 1m"),
      line: 4,
      expected: "expected a number of jobs",
      why: "jobs are no time",
    },
    { text: rule("depth_above: 1.5"), line: 4, expected: "expected a number of jobs", why: "nor halved" },
    {
      text: rule("depth_above: 2\nresolve_below: 3"),
      line: 5,
      expected: "not more than depth_above",
      why: "it would resolve while it fires",
    },
    {
      text: rule("depth_above: 2\nresolve_below: 0"),
      line: 5,
      expected: "expected more than 0",
      why: "nothing is below",
    },
    {
      text: rule("health: [STALLED, OK]"),
      line: 4,
      expected: "rules[0].health[1]: expected one or more of SLOW",
      why: "well is no alert",
    },
    {
      text: rule("health: UNKNOWN"),
      line: 4,
      expected: "expected one or more of SLOW",
      why: "that has a rule of its own",
    },
    { text: rule("health: []"), line: 4, expected: "expected one or more of SLOW", why: "it never fires" },
    {
      text: rule("depth_above: 1\ndepth_above: 2"),
      line: 5,
      expected: 'found "depth_above" again',
      why: "which?",
    },
    {
      text: rule("health: SLOW\nresolve_below: 1"),
      line: 5,
      expected: "expected no resolve_below",
      why: "health has no threshold",
    },
    {
      text: rule("depth_above: 1\nfor: 1y"),
      line: 5,
      expected: "rules[0].for: expected seconds",
      why: "no such unit",
    },
    {
      text: rule("depth_above: 1\nfor:"),
      line: 5,
      expected: "rules[0].for: expected seconds",
      why: "nothing said",
    },
    {
      text: rule("depth_above: 1\nfro: 1m"),
      line: 5,
      expected: 'found "fro"',
      why: "a slip of the pen changes nothing silently",
    },
    {
      text: rule("depth_above: 1\nlabels: { queue: x }"),
      line: 5,
      expected: "expected another name",
      why: "every alert has it",
    },
    {
      text: rule("depth_above: 1\nlabels: { a-b: x }"),
      line: 5,
      expected: "expected a name of letters",
      why: "Alertmanager refuses it",
    },
    {
      text: rule("depth_above: 1\nannotations: { s: '{{ $value }}' }"),
      line: 5,
      expected: "expected plain text",
      why: "here are no templates",
    },
    { text: rule("depth_above: 1\nseverity: []"), line: 5, expected: "expected text", why: "a list" },
    {
      text: "rules:\n  - queues: a\n    depth_above: 1",
      line: 2,
      expected: "expected a name",
      why: "a rule needs a name",
    },
    {
      text: "rules:\n  - name: A\n    depth_above: 1",
      line: 2,
      expected: "queues: expected 1 to 50 names",
      why: "of no queue",
    },
    {
      text: "rules:\n  - name: A\n    queues: []\n    depth_above: 1",
      line: 3,
      expected: "expected 1 to 50",
      why: "of no queue",
    },
    {
      text: `${rule("depth_above: 1")}${rule("depth_above: 1").slice(7)}`,
      line: 5,
      expected: '"A" is used above',
      why: "alerts are distinguished by it",
    },
    {
      text: "rules:\n  - { name: QueueUnknown, queues: a, depth_above: 1 }",
      line: 2,
      expected: "is built in",
      why: "taken",
    },
    {
      text: "rules: []\nqueue_unknown: { queues: a }",
      line: 2,
      expected: 'found "queues"',
      why: "it is of all of them",
    },
    { text: "", line: 1, expected: "expected a map", why: "nothing" },
    { text: "rule: []", line: 1, expected: "rules: expected a list of at most 200 rules", why: "no rules" },
    {
      text: "rules:\n  name: A\n  queues: [a, '']\n  depth_above: 1",
      line: 3,
      expected: "rules.queues[1]: expected 1 to 50 names",
      why: "of a single rule that is no list",
    },
    {
      text: "rules:\n  - &a { name: A, queues: a, depth_above: 1 }\n  - *a",
      line: 2,
      expected: 'rules[1].name: expected a different name for each rule, "A" is used above',
      why: "an alias is what it stands for",
    },
    { text: "rules: &a\n  - *a", line: 2, expected: "rules[0]: expected a map", why: "a loop" },
    { text: "rules:\n  - name: A\n   queues: x", line: 3, expected: "", why: "no YAML" },
    {
      text: "rules:\n  - a: 1\n    a: 2",
      line: 3,
      expected: "Map keys must be unique",
      why: "which of them?",
    },
  ])("is refused at line $line: $expected ($why)", ({ text, line, expected }) => {
    const problems = problemsOf(text);
    expect(
      problems.some((problem) => problem.startsWith(`line ${line}: `) && problem.includes(expected)),
      problems.join("\n"),
    ).toBe(true);
  });

  test("lists all mistakes at once, in the order of the lines", () => {
    const text = `${rule("depth_above: x\nfor: y")}  - name: B\n    queues: b\n`;
    expect(problemsOf(text).map((problem) => problem.split(":", 1)[0])).toEqual([
      "line 4",
      "line 5",
      "line 6",
    ]);
  });

  test.each([
    { lines: "for: 1s\nfor: 2s\ndepth_above: x", reported: [5, 6], why: "a key twice" },
    { lines: "latency_above: x\ndepth_above: y\nfor: z", reported: [2, 4, 5, 6], why: "two conditions" },
  ])("reports what else is wrong beside $why", ({ lines, reported }) => {
    const linesOf = problemsOf(rule(lines)).map((problem) => Number(/^line (\d+):/.exec(problem)?.[1]));
    expect(linesOf).toEqual(reported);
  });

  test("matches queues by globs", () => {
    const [first, unknown] = parseAlertRules(
      rule("depth_above: 1").replace("queues: mail", 'queues: [mail, "faktory/*"]'),
    );
    const rulesOf = createRuleMatcher([first!, unknown!]);
    expect(["mail", "mailer", "faktory/a", "x/faktory/a"].map((queue) => rulesOf(queue).length)).toEqual([
      ...[2, 0, 2, 0],
    ]);
  });
});
