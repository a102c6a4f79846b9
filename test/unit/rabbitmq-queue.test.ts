import { describe, expect, test } from "vitest";
import type { RabbitmqQueue } from "../../src/sources/rabbitmq/management-api.ts";
import { knownQueue, observationOf } from "../../src/sources/rabbitmq/queue-observation.ts";

/** What the management API says of a queue in each second, and what is made of the last of them. */
function lastOf(seconds: number, queueAt: (second: number) => Partial<RabbitmqQueue>) {
  const at = (second: number): RabbitmqQueue => ({
    ...{ vhost: "/", name: "mail", type: "classic", messages_unacknowledged: 0 },
    ...queueAt(second),
  });
  const known = knownQueue(at(0));
  const seen = Array.from({ length: seconds }, (_, second) =>
    observationOf(at(second), known, {
      ...{ isCounting: true, brokerNowMs: null, readAtMs: second * 1_000, halfTripMs: 1 },
    }),
  );
  return seen.at(-1);
}

/** It holds two messages; RabbitMQ counts also those as published that it refuses because of that. */
const full = [
  { why: "its own argument", arguments: { "x-overflow": "reject-publish" } },
  {
    why: "its own argument, of which dead letters are made",
    arguments: { "x-overflow": "reject-publish-dlx" },
  },
  { why: "a policy", arguments: {}, effective_policy_definition: { overflow: "reject-publish" } },
];

describe.each(full)("a queue that refuses messages when it is full, by $why", ({ why: _, ...refuses }) => {
  test("does not seem served while messages are refused", () => {
    const seen = lastOf(300, (second) => ({
      ...{ ...refuses, messages_ready: second === 0 ? 0 : 2 },
      message_stats: { publish: second, deliver_get: 0 },
    }));
    expect(seen).toMatchObject({ depth: 2, accuracy: "LOWER_BOUND" });
    expect(seen?.headAgeMs).toBeGreaterThanOrEqual(297_000);
  });

  test("is served by what is delivered, one message in ten seconds", () => {
    const seen = lastOf(300, (second) => ({
      ...{ ...refuses, messages_ready: second === 0 ? 0 : 2 },
      message_stats: { publish: second, deliver_get: Math.floor(second / 10) },
    }));
    expect(seen).toMatchObject({ depth: 2, accuracy: "LOWER_BOUND" });
    expect(seen?.headAgeMs).toBeGreaterThanOrEqual(9_000);
    expect(seen?.headAgeMs).toBeLessThanOrEqual(21_000);
  });

  test("is unknown where messages expire, too: those that leave and come are not counted", () => {
    const expiring = { arguments: { ...refuses.arguments, "x-message-ttl": 60_000 } };
    const seen = lastOf(300, (second) => ({
      ...{ ...refuses, ...expiring, messages_ready: second === 0 ? 0 : 2 },
      message_stats: { publish: second },
    }));
    expect(seen).toMatchObject({ depth: 2, headAgeMs: null, accuracy: "UNKNOWN" });
  });
});

test("a queue that drops its oldest messages when it is full is as young as the others", () => {
  const seen = lastOf(300, (second) => ({
    ...{ arguments: { "x-overflow": "drop-head" }, messages_ready: Math.min(second, 2) },
    message_stats: { publish: second },
  }));
  expect(seen).toMatchObject({ depth: 2, accuracy: "ESTIMATED" });
  expect(seen?.headAgeMs).toBeLessThanOrEqual(15_000);
});
