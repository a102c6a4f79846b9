import { createKeptFile, type KeptFile } from "../core/kept-file.ts";
import type { Logger } from "../core/logger.ts";
import { parseRules } from "./parse-rules.ts";
import type { AlertRule } from "./rules.ts";

/** Keeps what the file of rules says, and reads it again when it changes. */
export function createRuleFile(path: string, logger: Logger): KeptFile<readonly AlertRule[]> {
  return createKeptFile<readonly AlertRule[]>({
    path,
    setting: "ALERTS_FILE",
    parse: parseRules,
    initial: [],
    logger,
    onChange: (rules) => logger.info({ rules: rules.length }, "the rules for alerts were read again"),
  });
}
