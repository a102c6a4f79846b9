import { buildSchema, type DocumentNode, parse } from "graphql";
import { expect, it, vi } from "vitest";
import type { Scope } from "../../src/core/admission.ts";
import { createFairScheduler } from "../../src/server/fair-scheduler.ts";
import { createSubscriptionDeduplication } from "../../src/server/subscription-deduplication.ts";

const typed = `subscription ($of: String = "a") { pushes(of: $of) { text } }`;

it("runs a push once for all identical subscriptions, and sends it to each of them", async () => {
  const { subscribe, push, resolved } = open();
  const streams = [await subscribe(typed), await subscribe(typed), await subscribe(typed)];
  push([{ text: "one" }]);
  for (const next of streams) expect(await next()).toBe('{"data":{"pushes":[{"text":"one"}]}}');
  expect(resolved).toHaveBeenCalledTimes(1);
});

it.each([
  ["another document", `subscription ($of: String = "a") { same: pushes(of: $of) { text } }`, {}],
  ["other variables", typed, { of: "a" }],
])("runs it anew for %s", async (_what, query, variables: Record<string, unknown>) => {
  const { subscribe, push, resolved } = open();
  const streams = [await subscribe(typed), await subscribe(typed), await subscribe(query, variables)];
  push([{ text: "one" }]);
  for (const next of streams) expect(await next()).toContain('[{"text":"one"}]');
  expect(resolved).toHaveBeenCalledTimes(2);
});

it("runs it again for a subscription that is pushed another snapshot, even when it looks the same", async () => {
  const { subscribe, pushEach, resolved } = open();
  const streams = [await subscribe(typed), await subscribe(typed)];
  const shared = { text: "s" };
  pushEach([[shared, { text: "one" }], [shared]]);
  expect(await streams[0]?.()).toContain('[{"text":"s"},{"text":"one"}]');
  expect(await streams[1]?.()).toContain('[{"text":"s"}]');
  pushEach([[{ text: "two" }], [{ text: "two" }]]);
  for (const next of streams) expect(await next()).toContain('[{"text":"two"}]');
  expect(resolved).toHaveBeenCalledTimes(5);
});

it("sends an error to each of them, masked once for all, and continues", async () => {
  const { subscribe, push, maskError } = open();
  const streams = [await subscribe(typed), await subscribe(typed)];
  push([{ text: new Error("broken") }]);
  for (const next of streams)
    expect(JSON.parse(await next())).toMatchObject({ errors: [{ path: ["pushes", 0, "text"] }] });
  expect(maskError).toHaveBeenCalledTimes(1);
  push([{ text: "one" }]);
  for (const next of streams) expect(await next()).toContain('[{"text":"one"}]');
});

it("runs it anew for clients with other scopes", async () => {
  const { subscribe, push, resolved } = open();
  const streams = [await subscribe(typed), await subscribe(typed, {}, ["read", "admin"])];
  push([{ text: "one" }]);
  for (const next of streams) expect(await next()).toContain('[{"text":"one"}]');
  expect(resolved).toHaveBeenCalledTimes(2);
});

it("executes a push in a context of no client, since others get it, too", async () => {
  const { subscribe, push, resolved } = open();
  const next = await subscribe(typed);
  push([{ text: "one" }]);
  await next();
  expect(resolved.mock.calls[0]?.[2]).toEqual({ client: "" });
});

/** A subscription whose pushes come from the test. */
function open() {
  const schema = buildSchema(
    "type Push { text: String } type Query { a: String } type Subscription { pushes(of: String): [Push] }",
  );
  const resolved = vi.fn(({ text }, _args: object, _context: object) => {
    if (text instanceof Error) throw text;
    return text;
  });
  const fields = schema.getSubscriptionType()?.getFields();
  const text = (schema.getType("Push") as ReturnType<typeof schema.getSubscriptionType>)?.getFields().text;
  if (fields?.pushes === undefined || text === undefined) throw new Error("the fields were just declared");
  const sinks: ((pushed: unknown) => void)[] = [];
  fields.pushes.subscribe = () =>
    new ReadableStream({
      start(controller) {
        sinks.push((pushed) => controller.enqueue(pushed));
      },
    });
  fields.pushes.resolve = (pushed) => pushed;
  text.resolve = resolved;
  const maskError = vi.fn((error) => error);
  const deduplication = createSubscriptionDeduplication({
    maskError,
    bounds: { maxErrors: 10, introspection: true },
    scheduler: createFairScheduler({ shareMs: 1_000 }),
  });
  const documents = new Map<string, DocumentNode>();

  async function subscribe(
    query: string,
    variables: Record<string, unknown> = {},
    scopes: readonly Scope[] = ["read"],
  ): Promise<() => Promise<string>> {
    // As the document cache does.
    const document = documents.get(query) ?? parse(query);
    documents.set(query, document);
    const argsFor = (client: string) => ({
      schema,
      document,
      variableValues: variables,
      contextValue: { client },
    });
    const pushes = await deduplication.subscribe(
      { id: "token:a", scopes: new Set(scopes) },
      { own: argsFor("token:a"), shared: () => argsFor("") },
    );
    if ("json" in pushes) throw new Error(pushes.json);
    return async () => {
      const { value } = await pushes.next();
      if (value === undefined) throw new Error("the stream ended");
      return value.json;
    };
  }
  return {
    subscribe,
    resolved,
    maskError,
    push(pushed: unknown) {
      for (const sink of sinks) sink(pushed);
    },
    pushEach(each: readonly unknown[]) {
      for (const [i, pushed] of each.entries()) sinks[i]?.(pushed);
    },
  };
}
