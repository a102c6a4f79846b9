import { AppError } from "../core/errors.ts";
import { monotonicClock } from "../runtime/clock.ts";
import { pause } from "../runtime/pause.ts";
import type { Service } from "../runtime/service.ts";
import type { OtlpSender } from "./otlp-sender.ts";
import { RejectedError } from "./rejected-error.ts";
import type { SharedOutage } from "./shared-outage.ts";

export interface ExportLoopOptions {
  readonly open: () => Promise<OtlpSender>;
  /** Makes one export. */
  readonly send: (sender: OtlpSender) => Promise<void>;
  readonly outage: SharedOutage;
  readonly intervalMs: number;
  /** How long the last export may take, which the stop waits for. */
  readonly flushMs: number;
}

/** Exports at every interval, and once more when it stops. */
export function createExportLoop(options: ExportLoopOptions): Service {
  const { open, send, intervalMs, flushMs } = options;
  const stopping = new AbortController();
  const outage = options.outage.join();
  let running: Promise<void> | undefined;
  let isAnswering = true;

  async function round(sender: OtlpSender): Promise<void> {
    try {
      await send(sender);
      isAnswering = true;
      outage.recovered();
    } catch (error) {
      // The Redis connection logs its outages.
      if (error instanceof AppError) return;
      isAnswering = error instanceof RejectedError;
      outage.failed(error);
    }
  }

  async function run(sender: OtlpSender): Promise<void> {
    while (!stopping.signal.aborted) {
      const startedAtMs = monotonicClock.now();
      await round(sender);
      await pause(startedAtMs + intervalMs - monotonicClock.now(), stopping.signal);
    }
    // The last export has what happened since the one before. The stop does not wait for a collector that did not answer.
    if (isAnswering) await round(sender);
    await sender.close();
  }

  return {
    async start() {
      running = run(await open());
    },
    async stop() {
      stopping.abort();
      await Promise.race([running, pause(flushMs, new AbortController().signal)]);
      outage.leave();
    },
  };
}
