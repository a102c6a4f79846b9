import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createGlob, matchesGlob } from "../../src/core/glob.ts";

describe("a glob", () => {
  test.each([
    { glob: "mail", name: "mail", why: "a name stands for itself" },
    { glob: "*", name: "mail", why: "everything" },
    { glob: "*", name: "", why: "any text may be none" },
    { glob: "**", name: "a", why: "two stars are as one" },
    { glob: "faktory/*", name: "faktory/a/b", why: "a slash is text like any other" },
    { glob: "*/default", name: "sidekiq/default", why: "at the beginning" },
    { glob: "a*b*c", name: "a--b--b--c", why: "a star takes more when the rest does not fit" },
    { glob: "*ab", name: "aab", why: "what began too early begins again" },
    { glob: "mail*", name: "mail", why: "none at the end" },
    { glob: "ma?l", name: "mail", why: "one character" },
    { glob: "a?c", name: "a\u{1f600}c", why: "one character, be it two units of UTF-16" },
    { glob: "?", name: "🚀", why: "a character is what people take for one, not a unit of UTF-16" },
    { glob: "*?b", name: "xab", why: "both" },
    { glob: "a.b[1]", name: "a.b[1]", why: "nothing else is special" },
    { glob: "", name: "", why: "nothing is nothing" },
  ])("$glob fits $name: $why", ({ glob, name }) => {
    expect(matchesGlob(glob, name)).toBe(true);
  });

  test.each([
    { glob: "mail", name: "mails", why: "all of the name counts" },
    { glob: "mail", name: "email", why: "from its beginning" },
    { glob: "Mail", name: "mail", why: "case counts, as it does in names" },
    { glob: "faktory/*", name: "faktory", why: "the slash is missing" },
    { glob: "ma?l", name: "mal", why: "one character, not none" },
    { glob: "ma?l", name: "maiil", why: "one character, not two" },
    { glob: "a*b", name: "abc", why: "what is behind the last star stands at the end" },
    { glob: "*ab*ab*", name: "xab", why: "nothing is used twice" },
    { glob: "a.b", name: "axb", why: "a dot is a dot" },
    { glob: "", name: "a", why: "nothing fits nothing else" },
  ])("$glob does not fit $name: $why", ({ glob, name }) => {
    expect(matchesGlob(glob, name)).toBe(false);
  });

  test("says the same as the regular expression that it stands for", () => {
    const letters = (alphabet: string) =>
      fc.array(fc.constantFrom(...alphabet), { maxLength: 8 }).map((each) => each.join(""));
    fc.assert(
      fc.property(letters("ab*?"), letters("abc"), (glob, name) => {
        const same = new RegExp(`^${glob.replaceAll("*", ".*").replaceAll("?", ".")}$`);
        expect(matchesGlob(glob, name)).toBe(same.test(name));
      }),
      { numRuns: 2_000 },
    );
  });

  test("takes at most as many steps as it has characters times those of the name, whatever it is", () => {
    // A matcher that tries every way to share the name among the stars would not live to see the end of this.
    expect(matchesGlob("a*".repeat(100), `${"a".repeat(199)}b`)).toBe(true);
    expect(matchesGlob(`${"*a".repeat(100)}c`, `${"a".repeat(199)}b`)).toBe(false);
  });

  test("with ? takes as long for each character of a long name as of a short one, though it almost fits everywhere", () => {
    const matches = createGlob(`*${"a?".repeat(95)}b`);
    const once = (name: string) => {
      const before = process.cpuUsage();
      for (let i = 0; i < 20_000; i++) if (matches(name)) expect.unreachable();
      return process.cpuUsage(before).user;
    };
    // The least is what it takes; all else is the machine's.
    const costOf = (length: number) =>
      Math.min(...Array.from({ length: 5 }, () => once(`b${"a".repeat(length - 1)}`)));
    // Trying again from each character would take sixty times as long.
    expect(costOf(200) / costOf(25)).toBeLessThan(24);
  });
});
