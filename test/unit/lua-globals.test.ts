import { execFileSync } from "node:child_process";
import { globSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadScript } from "../../src/redis/scripts.ts";
import { scriptFor } from "../../src/sources/lists/list-reader.ts";
import { listSystems } from "../../src/sources/lists/list-systems.ts";
import { isOnPath } from "../support/programs.ts";

const src = join(import.meta.dirname, "../../src");
/** What a script finds in Redis; Redis refuses any other name, but only when a call comes to it. */
const known = new Set(
  `redis KEYS ARGV cjson cmsgpack struct bit math string table
   error ipairs next pairs pcall select tonumber tostring type unpack`.split(/\s+/),
);

/** Of the version that Redis runs; Debian and Homebrew name it differently. */
const compiler = ["luac5.1", "luac-5.1"].find(isOnPath) ?? "luac5.1";
const isSkipped = process.env.CI !== "true" && !isOnPath(compiler);

/** Of a script: the global names that it reads or writes and that are not known, by line. */
function unknownGlobals(lua: string): readonly string[] {
  // Redis takes off the line that says how a script runs.
  const input = lua.replace(/^#!.*/, "");
  const listing = execFileSync(compiler, ["-l", "-p", "-"], { input, encoding: "utf8" });
  return [...listing.matchAll(/\[(\d+)\]\s+([GS])ETGLOBAL\s.*; (\w+)/g)]
    .filter(([, , access, name = ""]) => access === "S" || !known.has(name))
    .map(([, line, , name]) => `line ${line}: ${name}`);
}

describe.skipIf(isSkipped)(`a Lua script${isSkipped ? ` (there is no ${compiler})` : ""} uses`, () => {
  const files = globSync("**/lua/*.lua", { cwd: src }).filter((file) => !file.startsWith("sources/lists/"));

  test.each(files)("%s: no global name that Redis does not have", (file) => {
    expect(unknownGlobals(loadScript("", new URL(`file://${join(src, file)}`)).lua)).toEqual([]);
  });

  test.each(Object.values(listSystems))("the script for $title: no such name either", (system) => {
    expect(unknownGlobals(scriptFor(system))).toEqual([]);
  });

  test("and one that is read, or written, anywhere in it is found", () => {
    const lua =
      "local a = tonumber(ARGV[1])\nif a == 1 then\n  return (function() return b end)()\nend\nc = 1";
    expect(unknownGlobals(lua)).toEqual(["line 5: c", "line 3: b"]);
  });
});
