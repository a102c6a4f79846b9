import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { StartError } from "../../src/core/errors.ts";
import {
  createTokenFile,
  parseTokens,
  type RevokedToken,
  type TokenFile,
} from "../../src/settings/token-file.ts";
import { recordingLogger } from "../support/logger.ts";

const hashOf = (secret: string) => createHash("sha256").update(secret).digest("hex");
const a = hashOf("a");
const b = hashOf("b");

describe("a line of the file of tokens", () => {
  test.each([
    { line: `ops read ${a}`, scopes: ["read"], why: "one scope" },
    { line: `ops read,record,admin ${a}`, scopes: ["read", "record", "admin"], why: "all scopes" },
    {
      line: `  ops\tread,read   ${a.toUpperCase()}  \r`,
      scopes: ["read"],
      why: "blanks, repeats and case mean nothing",
    },
    { line: `Ops_1.a-b record ${a}`, scopes: ["record"], why: "every character that a name may have" },
  ])("such as $line is taken: $why", ({ line, scopes }) => {
    expect(parseTokens(line)).toEqual([
      { name: line.trim().split(/\s/)[0], scopes: new Set(scopes), hash: Buffer.from(a, "hex") },
    ]);
  });

  test("that is empty or a comment means nothing", () => {
    expect(parseTokens(`# people\n\n  # more\nops read ${a}\n\n`)).toHaveLength(1);
    // npm run token -- ops read > tokens
    expect(parseTokens(`\n> queue-latency@0.1.0 token\n> exec node\n\nops read ${a}\n`)).toHaveLength(1);
  });

  test("is compared with those before it in one step, even with 100,000", async () => {
    const lines = Array.from({ length: 100_000 }, (_, i) => `client-${i} read ${hashOf(`secret ${i}`)}\n`);
    expect(parseTokens(lines.join(""))).toHaveLength(100_000);
  });

  test.each([
    { text: "ops read", expected: "line 1: expected NAME SCOPES SHA256", why: "no hash" },
    { text: `ops read ${a} ${b}`, expected: "line 1: expected NAME SCOPES SHA256", why: "two hashes" },
    {
      text: `ops read, record ${a}`,
      expected: "line 1: expected NAME SCOPES SHA256",
      why: "a blank between scopes",
    },
    {
      text: `ops write ${a}`,
      expected: "line 1: expected scopes out of read, record, admin",
      why: "no such scope",
    },
    { text: `ops , ${a}`, expected: "line 1: expected scopes out of", why: "no scope at all" },
    { text: `ops read ${a.slice(1)}`, expected: "line 1: expected the SHA-256", why: "too short" },
    { text: "ops read ql_a-secret-token", expected: "line 1: expected the SHA-256", why: "the token itself" },
    { text: `a:b read ${a}`, expected: "line 1: expected a name of 1 to 50", why: "a colon" },
    { text: `${"x".repeat(51)} read ${a}`, expected: "line 1: expected a name of 1 to 50", why: "too long" },
    {
      text: `ops read ${a}\nops admin ${b}`,
      expected: "line 2: expected a name of its own",
      why: "limits count by name",
    },
    {
      text: "",
      expected: "expected at least one token",
      why: "an empty file would refuse every client",
    },
    { text: "x\n# y\nz", expected: /^line 1: .*; line 3: /, why: "all mistakes at once" },
  ])("is refused: $why", ({ text, expected }) => {
    expect(() => parseTokens(text)).toThrow(expected);
    expect(() => parseTokens(text)).not.toThrow("secret");
  });
});

describe("the file of tokens", () => {
  let dir: string;
  let path: string;
  let file: TokenFile;
  let revoked: RevokedToken[];
  const logger = recordingLogger();

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "ql-tokens-"));
    path = join(dir, "tokens");
    revoked = [];
    logger.lines.length = 0;
    file = createTokenFile({ path, logger, everyMs: 5, onRevoked: (token) => revoked.push(token) });
  });
  afterEach(async () => {
    await file.stop();
    await rm(dir, { recursive: true });
  });

  test("knows tokens by their secrets, and nothing else", async () => {
    await writeFile(path, `ops read,admin ${a}\nci record ${b}\n`);
    await file.start();
    expect(file.find("a")).toMatchObject({ name: "ops", scopes: new Set(["read", "admin"]) });
    expect(file.find("b")).toMatchObject({ name: "ci" });
    for (const secret of ["", "c", "A", "a ", a]) expect(file.find(secret), secret).toBeNull();
  });

  test("keeps the server from starting when it is missing or wrong", async () => {
    await expect(file.start()).rejects.toThrow(StartError);
    await writeFile(path, "ops");
    await expect(file.start()).rejects.toThrow("API_TOKENS_FILE");
  });

  test("is read again when it changes: tokens come, and removed ones are reported", async () => {
    await writeFile(path, `ops read,admin ${a}\n`);
    await file.start();
    await writeFile(path, `ops read,admin ${a}\nci record ${b}\n`);
    await expect.poll(() => file.find("b")?.name).toBe("ci");
    expect(revoked).toEqual([]);

    await writeFile(path, `ops read ${a}\nci record,read ${b}\n`);
    await expect.poll(() => revoked, { interval: 5 }).toEqual([{ name: "ops", isKnown: true }]);
    expect(file.find("a")?.scopes).toEqual(new Set(["read"]));

    await writeFile(path, `ops read ${a}\nci record,read ${hashOf("c")}\n`);
    await expect.poll(() => revoked.slice(1)).toEqual([{ name: "ci", isKnown: false }]);
    expect(file.find("b")).toBeNull();
    expect(file.find("c")?.name).toBe("ci");
  });

  test("lets those known before in while it is wrong or gone, and says so once", async () => {
    await writeFile(path, `ops read ${a}\n`);
    await file.start();
    const errors = () => logger.lines.filter(({ level }) => level === "error");
    await writeFile(path, "half a li");
    await expect.poll(() => errors().length).toBe(1);
    await rm(path);
    await expect.poll(() => errors().length).toBe(2);
    expect(file.find("a")?.name).toBe("ops");
    expect(revoked).toEqual([]);
    // Back as it was: right again without a word of revocation.
    await writeFile(path, `ops read ${a}\nci read ${b}\n`);
    await expect.poll(() => file.find("b")?.name).toBe("ci");
    expect(errors()).toHaveLength(2);
    expect(JSON.stringify(logger.lines)).not.toContain("half a li");
  });
});
