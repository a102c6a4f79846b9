import { buildSchema } from "graphql";
import { createYoga } from "graphql-yoga";
import { expect, it, vi } from "vitest";
import { useSharedPushes } from "../../src/server/use-shared-pushes.ts";

const typed = `subscription ($of: String = "a") { pushes(of: $of) { text } }`;

it("runs a push once for all who have the same subscription, and tells each of them", async () => {
  const { subscribe, push, resolved } = open();
  const streams = [await subscribe(typed), await subscribe(typed), await subscribe(typed)];
  push([{ text: "one" }]);
  for (const next of streams) expect(await next()).toBe('{"data":{"pushes":[{"text":"one"}]}}');
  expect(resolved).toHaveBeenCalledTimes(1);
});

it.each([
  ["another document", `subscription ($of: String = "a") { same: pushes(of: $of) { text } }`, {}],
  ["other variables", typed, { of: "a" }],
])("runs it anew for %s", async (_what, query, variables) => {
  const { subscribe, push, resolved } = open();
  const streams = [await subscribe(typed), await subscribe(typed), await subscribe(query, variables)];
  push([{ text: "one" }]);
  for (const next of streams) expect(await next()).toContain('[{"text":"one"}]');
  expect(resolved).toHaveBeenCalledTimes(2);
});

it("runs it anew for whoever is pushed something else, be it that it looks the same", async () => {
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

it("tells an error to each of them, masked once for all, and goes on", async () => {
  const { subscribe, push, maskError } = open();
  const streams = [await subscribe(typed), await subscribe(typed)];
  push([{ text: new Error("broken") }]);
  for (const next of streams)
    expect(JSON.parse(await next())).toMatchObject({ errors: [{ path: ["pushes", 0, "text"] }] });
  expect(maskError).toHaveBeenCalledTimes(1);
  push([{ text: "one" }]);
  for (const next of streams) expect(await next()).toContain('[{"text":"one"}]');
});

/** A server whose pushes are told by the test, over server-sent events. */
function open() {
  const schema = buildSchema(
    "type Push { text: String } type Query { a: String } type Subscription { pushes(of: String): [Push] }",
  );
  const resolved = vi.fn(({ text }) => {
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
  const shared = useSharedPushes({ maskError, guard: { maxErrors: 10, introspection: true } });
  const yoga = createYoga({ schema, plugins: [shared], logging: false });

  async function subscribe(query: string, variables: object = {}): Promise<() => Promise<string>> {
    const { body } = await yoga.fetch("http://localhost/graphql", {
      method: "POST",
      headers: { "content-type": "application/json", accept: "text/event-stream" },
      body: JSON.stringify({ query, variables }),
    });
    if (body === null) throw new Error("a stream has a body");
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let read = "";
    return async () => {
      for (;;) {
        const [event, data] = /event: next\ndata: (.*)\n\n/.exec(read) ?? [];
        if (event !== undefined && data !== undefined) {
          read = read.slice(read.indexOf(event) + event.length);
          return data;
        }
        const { done, value } = await reader.read();
        if (done) throw new Error("the stream ended");
        read += value;
      }
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
