import { buildSchema, type DocumentNode, parse } from "graphql";
import { expect, it, vi } from "vitest";
import type { Scope } from "../../src/core/admission.ts";
import { AppError } from "../../src/core/errors.ts";
import { createFairScheduler } from "../../src/server/fair-scheduler.ts";
import { createSubscriptionDeduplication } from "../../src/server/subscription-deduplication.ts";
import { createTestSource, settled } from "../support/push-source.ts";

const typed = `subscription ($of: String = "a") { pushes(of: $of) { text } }`;
const one = '{"data":{"pushes":[{"text":"one"}]}}';

it("opens one source, and executes and encodes each push once, for all who have the same subscription", async () => {
  const { subscribe, push, resolved, sources } = open();
  const members = [await subscribe(), await subscribe(), await subscribe()];
  await push([{ text: "one" }]);
  for (const { written } of members) expect(written()).toEqual([one]);
  expect(members[1]?.results[0]).toBe(members[0]?.results[0]);
  expect(resolved).toHaveBeenCalledTimes(1);
  expect(sources).toHaveLength(1);
});

const separate: readonly (readonly [string, Partial<Request>])[] = [
  ["another document", { query: `subscription ($of: String = "a") { same: pushes(of: $of) { text } }` }],
  ["other variables", { variables: { of: "b" } }],
  // What a member may see follows from its scopes.
  ["more scopes", { scopes: ["read", "admin"] }],
  ["other scopes", { scopes: ["record"] }],
];
it.each(separate)("shares nothing with %s", async (_what, request) => {
  const { subscribe, push, resolved, sources } = open();
  const members = [await subscribe(), await subscribe(request)];
  expect(sources).toHaveLength(2);
  await push([{ text: "one" }]);
  for (const { written } of members) expect(written()[0]).toContain('[{"text":"one"}]');
  expect(resolved).toHaveBeenCalledTimes(2);
});

it("shares with the same scopes in another order, and with another client", async () => {
  const { subscribe, sources } = open();
  await subscribe({ scopes: ["read", "admin"] });
  await subscribe({ scopes: ["admin", "read"], client: "token:b" });
  expect(sources).toHaveLength(1);
});

it("pushes an error to each of them, masked once for all, and goes on", async () => {
  const { subscribe, push, maskError } = open();
  const members = [await subscribe(), await subscribe()];
  await push([{ text: new Error("broken") }]);
  for (const { written } of members)
    expect(JSON.parse(written()[0] ?? "")).toMatchObject({ errors: [{ path: ["pushes", 0, "text"] }] });
  expect(maskError).toHaveBeenCalledTimes(1);
  await push([{ text: "one" }]);
  for (const { written } of members) expect(written()[1]).toBe(one);
});

it("executes a push in a context of no client, since others get it, too", async () => {
  const { subscribe, push, resolved } = open();
  await subscribe();
  await push([{ text: "one" }]);
  expect(resolved.mock.calls[0]?.[2]).toEqual({ client: "" });
});

it("ends the one subscription whose client may not have it any more, and frees its slot", async () => {
  const { subscribe, push, slots } = open();
  const [revoked, other] = [await subscribe({ client: "token:r" }), await subscribe()];
  slots.get("token:r")?.(new AppError("UNAUTHENTICATED", "revoked"));
  expect(revoked.ends).toMatchObject([{ message: "revoked" }]);
  expect([...slots.keys()]).toEqual(["token:a"]);
  await push([{ text: "one" }]);
  expect([revoked.written(), other.written(), other.ends]).toEqual([[], [one], []]);
});

it("refuses, with the path of the field, one that joins when the state cannot be read, and frees its slot", async () => {
  const { subscribe, push, sources, slots } = open();
  const member = await subscribe();
  await push([{ text: "one" }]);
  sources[0]?.fail(new AppError("SERVICE_UNAVAILABLE", "Redis is away"));
  await expect(subscribe({ client: "token:b" })).rejects.toThrow(
    /"message":"Redis is away".*"path":\["pushes"\]/,
  );
  expect([...slots.keys()]).toEqual(["token:a"]);
  await push([{ text: "one" }]);
  expect(member.written()).toEqual([one, one]);
});

it("opens the next one anew when one could not be opened, or when all have left", async () => {
  const { subscribe, sources, slots, refuse } = open();
  refuse(new Error("cannot be opened"));
  await expect(subscribe()).rejects.toThrow("cannot be opened");
  expect([sources, slots.size]).toEqual([[], 0]);
  refuse(null);
  const member = await subscribe();
  member.leave();
  expect([sources[0]?.isEnded(), slots.size]).toEqual([true, 0]);
  await subscribe();
  expect(sources).toHaveLength(2);
});

interface Request {
  readonly query: string;
  readonly variables: Record<string, unknown>;
  readonly scopes: readonly Scope[];
  readonly client: string;
}

/** Subscriptions whose pushes come from the test. */
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
  const sources: ReturnType<typeof createTestSource>[] = [];
  let refusal: Error | null = null;
  fields.pushes.subscribe = () => {
    if (refusal !== null) throw refusal;
    const opened = createTestSource();
    sources.push(opened);
    return opened.source;
  };
  fields.pushes.resolve = (pushed) => pushed;
  text.resolve = resolved;
  const maskError = vi.fn((error) => error);
  const slots = new Map<string, (reason: unknown) => void>();
  const deduplication = createSubscriptionDeduplication({
    schema,
    contextOf: ({ id }) => ({ client: id }),
    maskError,
    bounds: { maxErrors: 10, introspection: true },
    scheduler: createFairScheduler({ shareMs: 1_000 }),
    takeSlot(client, end) {
      slots.set(client, end);
      return () => void slots.delete(client);
    },
  });
  const documents = new Map<string, DocumentNode>();

  async function subscribe({
    query = typed,
    variables = {},
    scopes = ["read"],
    client = "token:a",
  }: Partial<Request> = {}) {
    // As the document cache does.
    const document = documents.get(query) ?? parse(query);
    documents.set(query, document);
    const subscription = await deduplication.subscribe({
      client: { id: client, scopes: new Set(scopes) },
      document,
      operationName: null,
      variables,
      coercedVariables: variables,
    });
    if ("json" in subscription) throw new Error(subscription.json);
    const results: { readonly json: string }[] = [];
    const ends: unknown[] = [];
    subscription.begin({
      isReady: () => true,
      write: (result) => void results.push(result),
      end: (error) => void ends.push(error),
    });
    return {
      results,
      ends,
      written: () => results.map(({ json }) => json),
      leave: () => subscription.leave(),
    };
  }
  return {
    subscribe,
    resolved,
    maskError,
    sources,
    slots,
    refuse(error: Error | null) {
      refusal = error;
    },
    async push(pushed: unknown) {
      for (const { push } of sources) push(pushed);
      await settled();
    },
  };
}
