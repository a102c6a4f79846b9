import { expect, test, vi } from "vitest";
import { createOutageLog } from "../../src/runtime/outage-log.ts";
import { recordingLogger } from "../support/logger.ts";

const begins = "source unavailable";
const ends = "source available again";
const fields = { source: "faktory" };

test("logs when an outage begins, each further failure at debug, and when it is over", () => {
  const logger = recordingLogger();
  const outage = createOutageLog({ logger, begins, ends, fields });

  outage.recovered();
  outage.failed(new Error("refused"), { failures: 1 });
  outage.failed(new Error("timed out"), { failures: 2 });
  outage.recovered({ failures: 2 });
  outage.recovered();
  outage.failed("gone");

  expect(logger.lines).toEqual([
    { level: "warn", message: begins, fields: { ...fields, failures: 1, err: "refused" } },
    { level: "debug", message: begins, fields: { ...fields, failures: 2, err: "timed out" } },
    { level: "info", message: ends, fields: { ...fields, failures: 2 } },
    { level: "warn", message: begins, fields: { ...fields, err: "gone" } },
  ]);
});

test("logs what is not expected with its stack trace", () => {
  const logger = recordingLogger();
  const error = new TypeError("undefined is not a function");

  createOutageLog({ logger, begins, fields, level: "error" }).failed(error);

  expect(logger.lines).toEqual([{ level: "error", message: begins, fields: { ...fields, err: error } }]);
});

test("an outage with a calm is over when nothing has failed for so long", () => {
  vi.useFakeTimers();
  try {
    const logger = recordingLogger();
    const outage = createOutageLog({ logger, begins, ends, fields, calmMs: 1_000 });
    const messages = () => logger.lines.map(({ level, message }) => [level, message]);

    outage.failed("refused");
    outage.recovered();
    vi.advanceTimersByTime(999);
    outage.failed("refused");
    outage.recovered();
    vi.advanceTimersByTime(999);
    expect(messages()).toEqual([
      ["warn", begins],
      ["debug", begins],
    ]);

    vi.advanceTimersByTime(1);
    expect(messages().at(-1)).toEqual(["info", ends]);
  } finally {
    vi.useRealTimers();
  }
});
