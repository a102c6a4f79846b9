import { createOtlp, type OtlpOptions } from "../../src/exporters/otlp.ts";
import type { Service } from "../../src/runtime/service.ts";
import { silentLogger } from "./logger.ts";
import { noAlerts } from "./queue-reader.ts";

const freeLease: OtlpOptions["lease"] = {
  async acquire(signal) {
    return { ended: signal, fence: 1, release: async () => {} } as never;
  },
};

/** Exports by OTLP without a server and without Redis, once and at the stop unless there is an interval. */
export async function exportByOtlp(
  options: Pick<OtlpOptions, "reader" | "url"> & Partial<OtlpOptions>,
): Promise<Service> {
  const service = createOtlp({
    ...{ headers: {}, timeoutMs: 60_000, compression: "none", tls: {} },
    ...{ intervalMs: 86_400_000, resource: {}, version: "1", maxQueues: 50_000, historyMaxQueues: 50_000 },
    ...{ objectiveMsOf: () => null, alertStatus: async () => noAlerts, isRedisUp: async () => true },
    ...{ instanceId: "1", server: { read: async () => [] }, lease: freeLease, logger: silentLogger },
    ...options,
  });
  await service.start();
  return service;
}
