import { globSync, readFileSync } from "node:fs";
import { buildSchema, parse, validate } from "graphql";
import { describe, expect, test } from "vitest";
import * as documents from "../../src/dashboard/graphql/documents.ts";
import { withDefaults } from "../../src/dashboard/graphql/with-defaults.ts";

const schema = buildSchema(readFileSync(new URL("../../schema.graphql", import.meta.url), "utf8"));
const problemsOf = (text: string) => validate(schema, parse(text)).map(({ message }) => message);

describe("documents of the dashboard", () => {
  const texts = Object.entries(documents).filter(([, document]) => typeof document === "string");

  test.each(texts)("%s is valid", (_name, document) => {
    expect(problemsOf(String(document))).toEqual([]);
  });

  test("are all that there are: no other file has one", () => {
    const room = new URL("../../src/dashboard/", import.meta.url);
    const files = globSync("**/*.{ts,tsx}", { cwd: room }).filter((file) =>
      /graphql\(\s*`/.test(readFileSync(new URL(file, room), "utf8")),
    );
    expect(files).toEqual(["graphql/documents.ts"]);
  });
});

describe("a document with the values of its variables as defaults", () => {
  test.each([
    { variables: {}, finds: "$first: Int! = 50", why: "what is not given keeps its default" },
    { variables: { first: 20 }, finds: "$first: Int! = 20", why: "a number" },
    { variables: { reverse: true }, finds: "$reverse: Boolean! = true", why: "a boolean" },
    {
      variables: { orderBy: "LATENCY" },
      finds: "$orderBy: QueueOrder! = LATENCY",
      why: "enums have no quotes",
    },
    {
      variables: { health: ["SLOW", "OK"] },
      finds: "$health: [Health!] = [SLOW, OK]",
      why: "lists of them neither",
    },
    { variables: { source: "events" }, finds: '$source: String = "events"', why: "strings have" },
    {
      variables: { search: 'a"b*\\,)' },
      finds: '$search: String = "a\\"b*\\\\,)"',
      why: "what must be escaped",
    },
    { variables: { search: null }, finds: "$search: String,", why: "null is no value" },
  ])("has $finds: $why", ({ variables, finds }) => {
    const text = withDefaults(String(documents.queuePage), variables);
    expect(text).toContain(finds);
    expect(problemsOf(text)).toEqual([]);
  });
});
