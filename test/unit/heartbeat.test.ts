import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createHeartbeat } from "../../src/server/heartbeat.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] }));
afterEach(() => void vi.useRealTimers());

it("calls each member once in an interval, as they came, by one timer, and has none when all have left", () => {
  const called: string[] = [];
  const heartbeat = createHeartbeat<string>(12_000, (member) => called.push(member));
  heartbeat.add("a");
  vi.advanceTimersByTime(6_000);
  heartbeat.add("b");
  expect(vi.getTimerCount()).toBe(1);
  expect([...heartbeat.members()]).toEqual(["a", "b"]);
  vi.advanceTimersByTime(5_999);
  expect(called).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(called).toEqual(["a"]);
  vi.advanceTimersByTime(12_000);
  expect(called).toEqual(["a", "b", "a"]);
  heartbeat.delete("a");
  heartbeat.delete("a");
  vi.advanceTimersByTime(12_000);
  expect(called).toEqual(["a", "b", "a", "b"]);
  expect(heartbeat.size()).toBe(1);
  heartbeat.delete("b");
  expect([heartbeat.size(), vi.getTimerCount()]).toEqual([0, 0]);
});
