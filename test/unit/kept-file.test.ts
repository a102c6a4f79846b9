import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createKeptFile, type KeptFile } from "../../src/core/kept-file.ts";
import { recordingLogger } from "../support/logger.ts";

describe("a kept file", () => {
  let dir: string;
  let path: string;
  let file: KeptFile<string>;
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
    dir = await mkdtemp(join(tmpdir(), "ql-kept-"));
    path = join(dir, "file");
    reads = 0;
    changes.length = 0;
    logger.lines.length = 0;
    file = createKeptFile({
      path,
      setting: "A_FILE",
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

  test("says what it says once it is started, and tells of each change after that, once", async () => {
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
    expect(reads).toBe(3);
  });

  test("tells each mistake once, and again when it was right in between", async () => {
    await put("a");
    await file.start();
    for (const told of [["line 1: wrong"], ["line 1: wrong", "line 1: wrong"]]) {
      await put("wrong");
      await expect.poll(errors).toEqual(told);
      expect(file.value).toBe("A");
      const before = reads;
      await put("a");
      // As it was: read all the same, for that is when the mistake is over.
      await expect.poll(() => changes.length).toBe(told.length);
      expect(reads).toBeGreaterThan(before);
    }
  });

  test("names its setting and itself when it keeps the server from starting", async () => {
    await expect(file.start()).rejects.toThrow(/^A_FILE: \/.*\/file: ENOENT/);
    await put("wrong word");
    await expect(file.start()).rejects.toThrow(`A_FILE: ${path}: line 1: wrong word`);
  });
});
