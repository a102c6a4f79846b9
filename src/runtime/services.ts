import { messageOf, StartError } from "../core/errors.ts";
import type { Service } from "./service.ts";

/** Starts and stops services that have nothing to do with each other, so that a slow one does not hold up the rest. */
export function together(services: readonly Service[]): Service {
  return {
    start: async () => void (await Promise.all(services.map((service) => service.start()))),
    stop: async () => void (await Promise.all(services.map((service) => service.stop()))),
  };
}

/** Starts services whose failures are mistakes of the operator: all of them are reported, and can be mended at once. */
export function checkedTogether(services: readonly Service[]): Service {
  return {
    async start() {
      const starts = await Promise.allSettled(services.map((service) => service.start()));
      const errors = starts.flatMap((start) => (start.status === "rejected" ? [start.reason] : []));
      const unexpected = errors.find((error) => !(error instanceof StartError));
      if (errors.length > 0) throw unexpected ?? new StartError(errors.map(messageOf).join("\n"));
    },
    stop: together(services).stop,
  };
}

/** Starts services one after the other; stops those that were started, and the one that failed, in reverse. */
export function inOrder(services: readonly Service[]): Service {
  const started: Service[] = [];
  let isStopping = false;
  async function stop(): Promise<void> {
    isStopping = true;
    const errors: unknown[] = [];
    for (let service = started.pop(); service !== undefined; service = started.pop()) {
      await service.stop().catch((error: unknown) => errors.push(error));
    }
    if (errors.length > 0) throw new AggregateError(errors, "not everything stopped cleanly");
  }
  return {
    async start() {
      for (const service of services) {
        if (isStopping) return;
        started.push(service);
        await service.start();
      }
    },
    stop,
  };
}
