import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { checkWords, exceptions, findPrivateWords, privateWords } from "../../script/check-words.ts";

const project = join(import.meta.dirname, "../..");

test.each(privateWords)("$words are found, with what to write instead", ({ words, instead, reason }) => {
  expect(instead).not.toBe("");
  expect(reason).not.toBe("");
  for (const word of words) {
    const [found] = findPrivateWords(`first line\n * Of a queue ${word}: the rest.`);
    expect(found, word).toMatchObject({ line: 2, word: { instead } });
  }
});

test.each([
  { text: "const isToldOf = true;", words: 1, why: "a word in a name" },
  { text: "Nobody, in any case.", words: 1, why: "a capital letter" },
  { text: "nobody is told", words: 2, why: "two words of one line" },
  { text: "an old intelligent bolt", words: 0, why: "a part of another word" },
  { text: "see redis/told", words: 0, why: "the name of a file, which is a matter of its own" },
  { text: "sellTold(x)", words: 1, why: "the end of a name" },
])("of $text, $words are found: $why", ({ text, words }) => {
  expect(findPrivateWords(text)).toHaveLength(words);
});

test("no file of the project has any", () => {
  expect(checkWords(project)).toEqual([]);
});

test("the schema names the cost at the fields that cost, and at no other", () => {
  const schema = readFileSync(join(project, "schema.graphql"), "utf8");
  expect(schema).toMatch(/\bCosts one point\b/);
  expect(schema).not.toMatch(/\bfree\b/i);
});

test.each(exceptions)("$text is an exception: $reason", ({ text, reason }) => {
  expect(reason).not.toBe("");
  expect(findPrivateWords(`const ${text} = 1;`)).toEqual([]);
});
