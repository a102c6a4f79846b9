import { describe, expect, it } from "vitest";
import { checkQueueName, queueNameProblem } from "../../src/core/queue-name.ts";

const good: readonly { readonly name: string; readonly why: string }[] = [
  { name: "default", why: "the most usual of all" },
  { name: "a", why: "one byte is the least" },
  { name: "faktory/default", why: "the queue of a job system, as it is presented" },
  { name: "mail:{high}%7b", why: "what is special in a key of Redis is not special in a name" },
  { name: "with space", why: "U+0020 is printable" },
  { name: " ", why: "a single space is printable, if odd" },
  { name: "__proto__", why: "names are data, never properties" },
  { name: "constructor", why: "as above" },
  { name: "größe", why: "letters of any script" },
  { name: "e\u0301", why: "a combining mark is printed with its letter; nothing is normalized" },
  { name: "日本語", why: "three bytes each" },
  { name: "🚀", why: "one code point of four bytes, two units of UTF-16" },
  { name: "a?[b]\\'\"<&>", why: "nothing is a pattern, nothing is quoted" },
  { name: "x".repeat(200), why: "200 bytes are the most" },
  { name: "é".repeat(100), why: "100 characters of two bytes are 200 bytes" },
  { name: `${"日".repeat(66)}xx`, why: "66 characters of three bytes and two of one are 200 bytes" },
  { name: "🚀".repeat(50), why: "50 characters of four bytes are 200 bytes" },
];

const bad: readonly { readonly name: string; readonly says: string; readonly why: string }[] = [
  { name: "", says: "must not be empty", why: "no name" },
  { name: "x".repeat(201), says: "at most 200 bytes, this one has 201", why: "one byte too many" },
  { name: `${"é".repeat(100)}x`, says: "this one has 201", why: "bytes count, not characters: 101 of them" },
  { name: `${"日".repeat(67)}`, says: "this one has 201", why: "67 characters of three bytes" },
  { name: `${"🚀".repeat(50)}x`, says: "this one has 201", why: "51 characters" },
  { name: "*", says: 'must not contain "*"', why: "a client hopes for wildcards" },
  { name: "mail*", says: 'must not contain "*"', why: "anywhere in the name" },
  { name: "a\0b", says: "U+0000", why: "NUL" },
  { name: "a\nb", says: "U+000A", why: "a newline would forge lines of logs and of protocols" },
  { name: "a\r", says: "U+000D", why: "so would a carriage return, also at the end" },
  { name: "a\tb", says: "U+0009", why: "a tab is a control character" },
  { name: "\x1b[31m", says: "U+001B", why: "escape: would colour terminals" },
  { name: "\x7f", says: "U+007F", why: "delete" },
  { name: "a\u0085", says: "U+0085", why: "a control character behind ASCII" },
  { name: "a\u200bb", says: "U+200B", why: "zero width space: two names would look the same" },
  { name: "👩\u200d🚀", says: "U+200D", why: "zero width joiner: a format character, also within an emoji" },
  { name: "a\u202eb", says: "U+202E", why: "right-to-left override: would be shown as another name" },
  { name: "\ufeffa", says: "U+FEFF", why: "byte order mark" },
  { name: "a\u00a0b", says: "U+00A0", why: "no-break space looks like a space, and is another name" },
  { name: "a\u3000b", says: "U+3000", why: "ideographic space" },
  { name: "a\u2028b", says: "U+2028", why: "line separator" },
  {
    name: "a\ud800",
    says: "U+D800",
    why: "a lone high surrogate has no UTF-8: all of them would be one key",
  },
  { name: "a\ufffd", says: "U+FFFD", why: "what was no UTF-8 arrives so, whatever it was" },
  { name: "\udc00a", says: "U+DC00", why: "a lone low surrogate" },
  { name: "a\ue000", says: "U+E000", why: "private use: it looks different everywhere" },
  { name: "a\uffff", says: "U+FFFF", why: "not a character" },
  { name: "a\u{e0001}", says: "U+E0001", why: "a tag, beyond 16 bits: named in full" },
];

describe("the name of a queue", () => {
  it.each(good)("may be $name: $why", ({ name }) => {
    expect(queueNameProblem(name)).toBeNull();
  });

  it.each(bad)("is refused for $why", ({ name, says }) => {
    expect(queueNameProblem(name)).toContain(says);
  });

  it("is refused as BAD_USER_INPUT, with the place where it stands", () => {
    expect(() => checkQueueName("", "queues[3]")).toThrow(
      expect.objectContaining({
        code: "BAD_USER_INPUT",
        message: "queues[3]: a queue's name must not be empty",
      }),
    );
    expect(() => checkQueueName("default", "queues[0]")).not.toThrow();
  });
});
