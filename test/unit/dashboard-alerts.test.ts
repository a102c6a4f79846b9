import { describe, expect, test } from "vitest";
import {
  type ListedAlert,
  noAlerts,
  withActive,
  withEnded,
  withPushed,
} from "../../src/dashboard/alerts/alert-list.ts";
import { notificationsOf } from "../../src/dashboard/alerts/notification.ts";
import { alertsToNotify } from "../../src/dashboard/alerts/notification-choice.ts";
import { titleOf } from "../../src/dashboard/alerts/tab-title.ts";
import { textParts } from "../../src/dashboard/format/text-parts.ts";

const at = (minute: number) => new Date(1_790_000_000_000 + minute * 60_000).toISOString();
const pending = (id: string, minute: number): ListedAlert => ({
  ...{ id, state: "PENDING", since: at(minute), firedAt: null, endedAt: null },
});
const firing = (id: string, minute: number): ListedAlert => ({
  ...pending(id, minute),
  state: "FIRING",
  firedAt: at(minute),
});
const ended = (id: string, minute: number, fired = true): ListedAlert => ({
  ...pending(id, minute),
  ...{ state: "RESOLVED", firedAt: fired ? at(minute) : null, endedAt: at(minute + 1) },
});
const listOf = (...pushes: readonly ListedAlert[]) => pushes.reduce(withPushed<ListedAlert>, noAlerts);
const ids = (alerts: readonly ListedAlert[]) => alerts.map(({ id }) => id).join(" ");

describe("the list of alerts", () => {
  test("has firing ones first, then the newest", () => {
    const { active } = listOf(pending("a", 1), firing("b", 2), pending("c", 3), firing("d", 4));
    expect(ids(active)).toBe("d b c a");
  });

  test("has each alert once, in its newest state", () => {
    const { active } = listOf(pending("a", 1), firing("a", 1));
    expect(active).toEqual([firing("a", 1)]);
  });

  test("moves an alert that ends to those that ended, the newest end first", () => {
    const list = listOf(firing("a", 1), firing("b", 2), ended("b", 2), ended("a", 5));
    expect(ids(list.active)).toBe("");
    expect(ids(list.ended)).toBe("a b");
  });

  test("forgets what ended before it fired", () => {
    const list = listOf(pending("a", 1), ended("a", 1, false));
    expect(list).toEqual(noAlerts);
  });

  test("drops what ended while the connection was lost", () => {
    expect(ids(withActive(listOf(firing("a", 1), firing("b", 2)), [firing("b", 2)], true).active)).toBe("b");
  });

  test("keeps what an answer does not name that is not of all alerts", () => {
    const { active } = withActive(listOf(firing("a", 1), pending("b", 2)), [firing("c", 3)], false);
    expect(ids(active)).toBe("c a b");
  });

  test("does not let an older answer take back what was pushed", () => {
    const list = listOf(firing("a", 1), ended("a", 1), firing("b", 2));
    const answered = withActive(list, [firing("a", 1), pending("b", 2)], true);
    expect(answered.active).toEqual([firing("b", 2)]);
  });

  test("takes what an answer says has ended out of the active ones", () => {
    const list = withEnded(listOf(firing("a", 1)), [ended("a", 1), ended("b", 0)]);
    expect(ids(list.active)).toBe("");
    expect(ids(list.ended)).toBe("a b");
  });
});

describe("a notification", () => {
  const nowMs = Date.parse(at(10));
  const fresh = { id: "a", state: "FIRING", firedAt: at(9), acknowledgedAt: null } as const;
  const cases: readonly [why: string, rest: object, shown: readonly string[], isShown: boolean][] = [
    ["is shown for an alert that has just fired", {}, [], true],
    ["is shown once, in whichever tab", {}, ["a"], false],
    ["is not shown for a pending alert", { state: "PENDING", firedAt: null }, [], false],
    ["is not shown for an alert that fires for long", { firedAt: at(1) }, [], false],
    ["is not shown for an acknowledged alert", { acknowledgedAt: at(9) }, [], false],
  ];
  test.each(cases)("%s", (_, rest, shown, isShown) => {
    expect(alertsToNotify([{ ...fresh, ...rest }], new Set(shown), nowMs)).toHaveLength(isShown ? 1 : 0);
  });
});

describe("an annotation", () => {
  const runbook = "https://runbooks.example/mail?late=1";
  test.each([
    ["Add workers.", [], "no address"],
    [`See ${runbook}.`, [runbook], "without the full stop"],
    [`(${runbook}) or http://other.example`, [runbook, "http://other.example"], "in brackets, and two"],
    ["javascript:alert(1) data:text/html,x //evil.example", [], "no other kind of address"],
    [`${runbook}"onclick="x`, [runbook], "up to a quotation mark"],
  ])("%s has the links %o: %s", (text, links, _why) => {
    const parts = textParts(text);
    expect(parts.flatMap(({ href }) => (href === null ? [] : [href]))).toEqual(links);
    expect(parts.map((part) => part.text).join("")).toBe(text);
  });
});

describe("the notifications of alerts that fire at once", () => {
  const alert = (queue: string | null, rest = {}) => ({
    ...{ id: String(queue), rule: "Late", queue, annotations: [], end: null },
    ...{ subject: "DEPTH" as const, value: 9, threshold: 5, facts: null, ...rest },
  });
  const many = Array.from({ length: 7 }, (_, i) => alert(`q${i}`));
  test.each([
    {
      why: "each has its own",
      alerts: [alert("mail"), alert("sync")],
      said: ["Late: mail / depth 9; the rule allows 5", "Late: sync / depth 9; the rule allows 5"],
    },
    {
      why: "the summary of the rule comes first",
      alerts: [alert("mail", { annotations: [{ name: "summary", text: "Mail is late." }] })],
      said: ["Late: mail / Mail is late. / depth 9; the rule allows 5"],
    },
    {
      why: "a depth that was counted to a limit may be greater",
      alerts: [alert("mail", { value: 10_000, facts: { depthIsLowerBound: true } })],
      said: ["Late: mail / depth 10,000+; the rule allows 5"],
    },
    { why: "an alert about alerts has no queue", alerts: [alert(null)], said: [/^Late \/ /] },
    {
      why: "a name in Hebrew turns nothing round",
      alerts: [alert("\u05d3\u05d5\u05d0\u05e8")],
      said: [/^Late: \u2068\u05d3\u05d5\u05d0\u05e8\u2069 \/ /],
    },
    {
      why: "a storm has one",
      alerts: many,
      said: ["7 alerts fire / Late: q0 / Late: q1 / Late: q2 / Late: q3 / Late: q4 / and 2 more"],
    },
  ])("$why", ({ alerts, said }) => {
    const found = notificationsOf(alerts).map(
      ({ title, body }) => `${title} / ${body.replaceAll("\n", " / ")}`,
    );
    expect(found).toEqual(
      said.map((text) => (typeof text === "string" ? text : expect.stringMatching(text))),
    );
  });
});

describe("the title of the tab", () => {
  test.each([
    ["", 0, "queue-latency"],
    ["", 2, "(2) queue-latency"],
    ["mail", 1, "(1) mail · queue-latency"],
  ])("of %o with %i firing alerts is %s", (page, count, title) => {
    expect(titleOf(page, count)).toBe(title);
  });

  test("says that more alerts may fire", () => {
    expect(titleOf("", 200, true)).toBe("(200+) queue-latency");
  });
});
