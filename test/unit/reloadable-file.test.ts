import { execFileSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, open, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { parseInWorker } from "../../src/runtime/parse-in-worker.ts";
import { createReloadableFile, type ReloadableFile } from "../../src/runtime/reloadable-file.ts";
import { recordingLogger } from "../support/logger.ts";

/** A user that owns nothing. */
const unprivilegedUser = 65_534;

describe("a reloadable file", () => {
  let dir: string;
  let path: string;
  let file: ReloadableFile<string>;
  let reads: number;
  const changes: (readonly [value: string, before: string])[] = [];
  const logger = recordingLogger();

  /** All at once: half a file would be another one. */
  async function put(text: string): Promise<void> {
    await writeFile(`${path}.new`, text);
    await rename(`${path}.new`, path);
  }
  const errors = () => logger.lines.filter(({ level }) => level === "error").map(({ fields }) => fields.err);

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), "ql-reloadable-"));
    path = join(dir, "file");
    reads = 0;
    changes.length = 0;
    logger.lines.length = 0;
    file = createReloadableFile({
      path,
      setting: "A_FILE",
      hint: "Make one.",
      maxBytes: 1_000,
      parse(text) {
        reads += 1;
        if (text.startsWith("wrong")) throw new Error(`line 1: ${text}`);
        return text.toUpperCase();
      },
      initial: "nothing",
      logger,
      onChange: (value, before) => changes.push([value, before]),
      everyMs: 5,
    });
  });
  afterEach(async () => {
    await file.stop();
    await rm(dir, { recursive: true });
  });

  test("has its content once it is started, and calls back for each change after that, once", async () => {
    expect(file.value).toBe("nothing");
    await put("a");
    await file.start();
    expect(file.value).toBe("A");
    expect(changes).toEqual([]);
    await put("b");
    await expect.poll(() => file.value).toBe("B");
    await put("c");
    await expect.poll(() => file.value).toBe("C");
    expect(changes).toEqual([
      ["B", "A"],
      ["C", "B"],
    ]);
    // Twice of the first version: it may have changed in the instant of the start.
    expect(reads).toBe(3);
  });

  test("logs each mistake once, and again when it was right in between", async () => {
    await put("a");
    await file.start();
    for (const logged of [["line 1: wrong"], ["line 1: wrong", "line 1: wrong"]]) {
      await put("wrong");
      await expect.poll(errors).toEqual(logged);
      expect(file.value).toBe("A");
      const before = reads;
      await put("a");
      // As it was: read all the same, for that is when the mistake is over.
      await expect.poll(() => changes.length).toBe(logged.length);
      expect(reads).toBeGreaterThan(before);
    }
  });

  test("names its setting and itself when it keeps the server from starting", async () => {
    await expect(file.start()).rejects.toThrow(/^A_FILE: \/.*\/file: ENOENT.*\. Make one\.$/);
    await put("wrong word");
    await expect(file.start()).rejects.toThrow(`A_FILE: ${path}: line 1: wrong word`);
  });

  test("says which user must be able to read it", async () => {
    await put("a");
    await chmod(path, 0o000);
    await chmod(dir, 0o755);
    const isRoot = process.getuid?.() === 0;
    // Permissions do not stop root.
    if (isRoot) process.seteuid?.(unprivilegedUser);
    const user = isRoot ? unprivilegedUser : process.getuid?.();
    try {
      await expect(file.start()).rejects.toThrow(
        new RegExp(
          `EACCES.*runs as user ${user}\\. It belongs to user .* mode 0\\. .*: chown ${user} .*, or chmod 644`,
        ),
      );
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  });

  test.each([
    { kind: "a FIFO", make: (at: string) => execFileSync("mkfifo", [at]) },
    { kind: "a directory", make: (at: string) => mkdir(at) },
    { kind: "a device", make: (at: string) => symlink("/dev/zero", at) },
  ])("is refused when it is $kind", async ({ kind, make }) => {
    await make(path);
    await expect(file.start()).rejects.toThrow(`A_FILE: ${path}: expected a regular file, found ${kind}`);
  });

  test("is refused when it is longer than it may be, and not parsed", async () => {
    await put("x".repeat(1_001));
    await expect(file.start()).rejects.toThrow(`A_FILE: ${path}: expected at most 1 kB`);
    expect(reads).toBe(0);
  });
});

describe("a reloadable file that is checked by hand", () => {
  test("counts when it has looked the same twice, and is parsed once while it is wrong", async () => {
    const dir = await mkdtemp(join(tmpdir(), "ql-reloadable-"));
    onTestFinished(() => rm(dir, { recursive: true }));
    const path = join(dir, "file");
    const parsed: string[] = [];
    const logger = recordingLogger();
    const file = createReloadableFile({
      ...{ path, setting: "A_FILE", hint: "", maxBytes: 100_000, initial: "", logger },
      everyMs: 3_600_000,
      parse: (text) => {
        parsed.push(text.slice(0, 20));
        if (text.startsWith("wrong")) throw new Error(text);
        return text;
      },
      onChange: () => {},
    });
    onTestFinished(() => file.stop());
    await writeFile(path, "a b c\n");
    await file.start();
    await file.check();
    await file.check();

    const writing = await open(path, "w");
    for (const word of ["a\n", "b\n", "c\n", "d\n"]) {
      // Each part would be a whole file.
      await writing.write(word);
      await file.check();
      expect(file.value).toBe("a b c\n");
    }
    await writing.close();
    await file.check();
    expect(file.value).toBe("a\nb\nc\nd\n");

    await writeFile(path, `wrong ${"x".repeat(50_000)}`);
    for (let i = 0; i < 5; i++) await file.check();
    expect(parsed.filter((text) => text.startsWith("wrong"))).toHaveLength(1);
    expect(file.value).toBe("a\nb\nc\nd\n");
    const errors = logger.lines.filter(({ level }) => level === "error");
    expect(errors).toHaveLength(1);
    expect(String(errors[0]?.fields.err)).toMatch(/^wrong x+… \(48006 more characters\)$/);

    await rm(path);
    for (let i = 0; i < 3; i++) await file.check();
    await writeFile(path, "e\n");
    for (let i = 0; i < 2; i++) await file.check();
    expect(file.value).toBe("e\n");
    expect(logger.lines.filter(({ level }) => level === "error")).toHaveLength(2);
  });
});

test("a parser runs in a thread of its own, and its message comes back", async () => {
  const module = new URL("../../src/settings/parse-alert-rules.ts", import.meta.url);
  const parse = parseInWorker<readonly { readonly name: string }[]>({ module, name: "parseAlertRules" });
  const rules = await parse("rules: [{ name: A, queues: q, latency_above: 1 }]");
  expect(rules[0]).toMatchObject({ name: "A", condition: { subject: "latency", above: 1 } });
  await expect(parse("rules: [{ name: A }]")).rejects.toThrow(/^line 1: /);

  // The longest text that is allowed, and among the most expensive: other work goes on meanwhile.
  let ticks = 0;
  const ticking = setInterval(() => {
    ticks += 1;
  }, 1);
  await expect(parse("[".repeat(256_000))).rejects.toThrow("line 1");
  clearInterval(ticking);
  expect(ticks).toBeGreaterThan(10);
});
