import { readFileSync } from "node:fs";
import { join } from "node:path";
import { buildSchema } from "graphql";
import { describe, expect, test } from "vitest";
import { sectionOf } from "../../script/release.ts";
import { breaksOf, undatedDeprecations, unnamedBreaks } from "../../script/schema-breaks.ts";
import { schema } from "../../src/api/schema.ts";
import { project } from "../support/pages.ts";

const read = (file: string) => readFileSync(join(project, file), "utf8");

const released = `
  enum State { EMPTY WAITING }
  input Choice { first: Int second: Int }
  type Queue { name: String! depth: Int, latency(window: Int = 1): Float }
  type Other { a: Int }
  type Query { queue(choice: Choice): Queue state: State! other: Other }
`;

/** Against the schema above, with one text of it in place of another. */
const breaks = (from: string, to: string) => {
  expect(released).toContain(from);
  return breaksOf(buildSchema(released), buildSchema(released.replace(from, to)));
};

describe("the schema of the last release", () => {
  test.each([
    { from: "depth: Int,", to: "", paths: ["Queue.depth"], why: "a field is gone" },
    {
      from: "name: String!",
      to: "name: String",
      paths: ["Queue.name"],
      why: "what was always there may be null",
    },
    { from: "depth: Int,", to: "depth: Float,", paths: ["Queue.depth"], why: "of another type" },
    { from: "(window: Int = 1)", to: "", paths: ["Queue.latency.window"], why: "an argument is gone" },
    {
      ...{ from: "(window: Int = 1)", to: "(window: Int!)", paths: ["Queue.latency.window"] },
      why: "an argument is required now",
    },
    {
      ...{ from: "(window: Int = 1)", to: "(window: Int = 1, by: Int!)", paths: ["Queue.latency.by"] },
      why: "a new argument is required",
    },
    { from: "second: Int", to: "", paths: ["Choice.second"], why: "an input field is gone" },
    {
      from: "second: Int",
      to: "second: Int third: Int!",
      paths: ["Choice.third"],
      why: "a new one is required",
    },
    { from: "WAITING", to: "", paths: ["State.WAITING"], why: "a client may send the value" },
    { from: "other: Other", to: "", paths: ["Query.other"], why: "its type is still there" },
    { from: "depth: Int,", to: "depth: Int!,", paths: [], why: "it is always there now" },
    { from: "depth: Int,", to: "depth: Int, size: Int", paths: [], why: "a field is new" },
    {
      from: "second: Int",
      to: "second: Int third: Int",
      paths: [],
      why: "a new input field can be left out",
    },
    { from: "WAITING", to: "WAITING PAUSED", paths: [], why: "clients take values that they do not know" },
    { from: "= 1", to: "= 2", paths: [], why: "another default breaks no document" },
    { from: "depth: Int,", to: 'depth: Int @deprecated(reason: "x"),', paths: [], why: "it is still there" },
  ])("is broken at $paths by $to for $from: $why", async ({ from, to, paths }) => {
    expect((await breaks(from, to)).map(({ path }) => path)).toEqual(paths);
  });

  test.each([
    { section: "- `Queue.depth` is gone: use `waiting`.", unnamed: [], why: "named" },
    { section: "- `Queue.depths` is new.", unnamed: ["Queue.depth"], why: "another one" },
    { section: "- Queue.depth is gone.", unnamed: ["Queue.depth"], why: "not in backticks" },
    { section: "", unnamed: ["Queue.depth"], why: "nothing is said" },
  ])("is broken with a word of it in the changelog: $why", async ({ section, unnamed }) => {
    const found = unnamedBreaks(await breaks("depth: Int,", ""), section);
    expect(found.map((line) => line.split(":")[0])).toEqual(unnamed);
  });

  test("is broken by nothing that CHANGELOG.md does not name", async () => {
    const last = buildSchema(read("test/fixtures/released-schema.graphql"));
    const section = sectionOf(read("CHANGELOG.md"), "Unreleased");
    expect(unnamedBreaks(await breaksOf(last, schema), section)).toEqual([]);
  });
});

describe("what is deprecated", () => {
  test.each([
    { reason: "Until 2027-06-30: use `depth`.", isDated: true, why: "a day, and what to do" },
    { reason: "Use depth.", isDated: false, why: "no day" },
    { reason: "Until 2027-02-31: use depth.", isDated: false, why: "no such day" },
    { reason: "Until June 2027: use depth.", isDated: false, why: "no day that programs read" },
    { reason: "Until 2027-06-30: ", isDated: false, why: "nothing to do instead" },
  ])("has a dated reason, $isDated for $reason: $why", ({ reason, isDated }) => {
    const deprecated = `@deprecated(reason: ${JSON.stringify(reason)})`;
    const found = undatedDeprecations(
      buildSchema(`
        enum E { A B ${deprecated} }
        input I { a: Int ${deprecated} }
        type Query { a(b: Int ${deprecated}, e: E, i: I): Int ${deprecated} }
      `),
    );
    const paths = ["E.B", "I.a", "Query.a", "Query.a.b"];
    expect(found.map((line) => line.split(":")[0]).toSorted()).toEqual(isDated ? [] : paths);
  });

  test("in our schema has a dated reason", () => {
    expect(undatedDeprecations(schema)).toEqual([]);
  });
});
