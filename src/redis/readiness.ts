import type { RedisConnections } from "./connections.ts";
import { findEvictingNodes } from "./eviction-policy.ts";
import { findRefusingNodes } from "./write-refusals.ts";

/** What Redis lets this process do. */
export interface Readiness {
  /** False: it does not answer, so nothing can be answered. */
  readonly isReady: boolean;
  /** What does not work, or may be lost, though queries are answered. */
  readonly warnings: readonly string[];
}

/** Never rejects. */
export async function readinessOf({
  assertServes,
  commands,
}: Pick<RedisConnections, "assertServes" | "commands">): Promise<Readiness> {
  try {
    await assertServes();
  } catch {
    return { isReady: false, warnings: [] };
  }
  const [refusing, evicting] = await Promise.all([findRefusingNodes(commands), findEvictingNodes(commands)]);
  return {
    isReady: true,
    warnings: [
      ...refusing.map(({ node, refusal }) => `Redis at ${node} refuses writes: ${adviceFor(refusal)}`),
      ...evicting.map(
        ({ node, policy }) =>
          `maxmemory-policy of Redis at ${node} is ${policy}: it may evict keys of queues, which are INCOMPLETE then; set it to noeviction`,
      ),
    ],
  };
}

function adviceFor(refusal: string): string {
  return refusal.startsWith("OOM")
    ? "it is full (maxmemory), so new events are refused; raise maxmemory, or remove queues with forgetQueue"
    : refusal;
}
