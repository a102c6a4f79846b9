import { join } from "node:path";
import { inject, test } from "vitest";
import { expectExactTotals, type RecorderProgram } from "../support/recorder-program.ts";
import { uniquePrefix } from "../support/redis.ts";

const example = (file: string) => join(import.meta.dirname, "../../examples", file);

/** Node's is in published-package, where the package is installed. */
const programs: readonly { readonly name: string; readonly command: RecorderProgram["command"] }[] = [
  { name: "Python", command: ["python3", example("recorder.py")] },
  { name: "Ruby", command: ["ruby", example("recorder.rb")] },
  { name: "Go", command: ["go", "run", example("recorder.go")] },
];

test.each(programs)(
  "the producer in $name records each event once, while the server is killed twice",
  async ({ command }) => {
    await expectExactTotals({ command }, { REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() });
  },
);
