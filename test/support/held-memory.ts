import { expect } from "vitest";
import type { TestServer } from "./server.ts";
import { until } from "./until.ts";

/** For the environment of a server that is asked for `heldBytes`. */
export const reportsHeldBytes = {
  NODE_OPTIONS: `--import=${new URL("./held-memory-process.ts", import.meta.url)}`,
};

/**
 * What a server holds: its heap and its buffers, without garbage. Unlike the memory that its process takes, that does not depend
 * on how busy the machine is.
 */
export async function heldBytes({ pid, stdout }: TestServer): Promise<number> {
  const reported = () => [...stdout().matchAll(/^holds (\d+)$/gm)];
  const before = reported().length;
  process.kill(pid, "SIGUSR2");
  return await until(() => {
    expect(reported().length).toBeGreaterThan(before);
    return Number(reported().at(-1)?.[1]);
  });
}
