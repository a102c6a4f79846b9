import { globSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const root = new URL("../../", import.meta.url).pathname;

test("only runtime/clock.ts reads the machine's wall clock, and nothing makes an instant of a monotonic one", () => {
  const offenders = globSync("src/**/*.ts", { cwd: root })
    // A browser has a clock of its own, and so has a producer that records: its times are what it reports.
    .filter((file) => file !== "src/runtime/clock.ts" && !/^src\/(dashboard|recorder)\//.test(file))
    .flatMap((file) =>
      readFileSync(root + file, "utf8")
        .split("\n")
        .flatMap((line, i) =>
          /Date\.now\(|new Date\(\)|timeOrigin|\bhrtime\b/.test(line)
            ? [`${file}:${i + 1}: ${line.trim()}`]
            : [],
        ),
    );
  expect(offenders).toEqual([]);
});
