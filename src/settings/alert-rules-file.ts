import type { AlertRule } from "../core/alert-rules.ts";
import type { Logger } from "../runtime/logger.ts";
import { parseInWorker } from "../runtime/parse-in-worker.ts";
import { createReloadableFile, type ReloadableFile } from "../runtime/reloadable-file.ts";

/** Knows the rules in a file, and reads it again when it changes; runtime/reloadable-file.ts has the rules. */
export function createAlertRulesFile(path: string, logger: Logger): ReloadableFile<readonly AlertRule[]> {
  return createReloadableFile<readonly AlertRule[]>({
    path,
    setting: "ALERTS_FILE",
    hint: "docs/alerts.md has an example of such a file, and script/demo-alerts.yml is one",
    maxBytes: 256_000,
    parse: parseInWorker({
      module: new URL("./parse-alert-rules.ts", import.meta.url),
      name: "parseAlertRules",
    }),
    initial: [],
    logger,
    onChange: (rules) => logger.info({ rules: rules.length }, "read alert rules again"),
  });
}
