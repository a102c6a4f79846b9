import { describe, expect, test } from "vitest";
import {
  type ListedAlert,
  noAlerts,
  withActive,
  withEnded,
  withPushed,
} from "../../src/dashboard/alerts/alert-list.ts";
import { alertsToNotify } from "../../src/dashboard/alerts/notification-choice.ts";
import { titleOf } from "../../src/dashboard/alerts/tab-title.ts";

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
    expect(ids(withActive(listOf(firing("a", 1), firing("b", 2)), [firing("b", 2)]).active)).toBe("b");
  });

  test("does not let an older answer take back what was pushed", () => {
    const list = listOf(firing("a", 1), ended("a", 1), firing("b", 2));
    const answered = withActive(list, [firing("a", 1), pending("b", 2)]);
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

describe("the title of the tab", () => {
  test.each([
    ["", 0, "queue-latency"],
    ["", 2, "(2) queue-latency"],
    ["mail", 1, "(1) mail · queue-latency"],
  ])("of %o with %i firing alerts is %s", (page, count, title) => {
    expect(titleOf(page, count)).toBe(title);
  });
});
