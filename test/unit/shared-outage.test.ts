import { expect, test } from "vitest";
import { createSharedOutage } from "../../src/exporters/shared-outage.ts";
import { createOutageLog } from "../../src/runtime/outage-log.ts";
import { recordingLogger } from "../support/logger.ts";

function create() {
  const logger = recordingLogger();
  const shared = createSharedOutage(
    createOutageLog({ logger, begins: "failed", ends: "recovered", fields: {} }),
  );
  const lines = () => logger.lines.map(({ level, message }) => `${level} ${message}`);
  return { one: shared.join(), other: shared.join(), lines };
}

test("an outage lasts while one member fails", () => {
  const { one, other, lines } = create();
  one.failed("refused");
  other.recovered();
  other.failed("refused");
  one.recovered();
  expect(lines()).toEqual(["warn failed", "debug failed"]);
  other.recovered();
  expect(lines()).toEqual(["warn failed", "debug failed", "info recovered"]);
});

test("a member that has left is not waited for, and logs nothing more", () => {
  const { one, other, lines } = create();
  one.failed("refused");
  one.leave();
  one.failed("refused");
  one.recovered();
  expect(lines()).toEqual(["warn failed"]);
  other.recovered();
  expect(lines()).toEqual(["warn failed", "info recovered"]);
});
