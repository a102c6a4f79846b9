import type { Logger } from "../core/logger.ts";

/** Something that may stop working for a while. */
export interface Outage {
  /** It does not work. */
  failed(err: unknown): void;
  /** It works. */
  worked(): void;
}

/** Says once that something has stopped working, and once that it works again. */
export function createOutage(logger: Logger, source: string, begins: string, ends: string): Outage {
  let lasting = false;
  return {
    failed(err) {
      if (lasting) logger.debug({ source, err }, begins);
      else logger.warn({ source, err }, begins);
      lasting = true;
    },
    worked() {
      if (lasting) logger.info({ source }, ends);
      lasting = false;
    },
  };
}
