import type { Logger } from "../core/logger.ts";

/** One line when trouble begins, and one when it is over, however often it seems to be over in between. */
export interface TroubleLog {
  wrong(why: string): void;
  well(): void;
}

/** When all has been well for so long, in ms, the trouble is over. */
export const calmMs = 1_000;

export function createTroubleLog(
  logger: Logger,
  connection: string,
  lines: { readonly begins: string; readonly ends: string },
): TroubleLog {
  let isTrouble = false;
  let calm: NodeJS.Timeout | undefined;
  return {
    wrong(why) {
      clearTimeout(calm);
      calm = undefined;
      if (!isTrouble) logger.warn({ err: why, connection }, lines.begins);
      isTrouble = true;
    },
    well() {
      if (!isTrouble || calm !== undefined) return;
      calm = setTimeout(() => {
        isTrouble = false;
        calm = undefined;
        logger.info({ connection }, lines.ends);
      }, calmMs);
      calm.unref();
    },
  };
}
