import { AppError } from "../core/errors.ts";
import { checkQueueName } from "../core/queue-name.ts";
import type { FieldCost } from "../limits/field-cost.ts";
import type { ArgumentLimits } from "./context.ts";

/**
 * The queues of one field, each once, in the order asked.
 *
 * @throws AppError TOO_MANY_QUEUES; BAD_USER_INPUT that says which name is wrong and why.
 */
export function checkQueues(queues: readonly string[], limits: ArgumentLimits): readonly string[] {
  checkQueueCount(queues.length, limits);
  const known = checkedQueues.get(queues);
  if (known !== undefined) return known;
  queues.forEach((queue, i) => {
    checkQueueName(queue, `queues[${i}]`);
  });
  const checked = [...new Set(queues)];
  checkedQueues.set(queues, checked);
  return checked;
}

/** By the list as it was sent, which is the same for its price and for its execution, and each time the same is asked. */
const checkedQueues = new WeakMap<readonly string[], readonly string[]>();

/** @throws AppError TOO_MANY_QUEUES. */
export function checkQueueCount(count: number, { maxQueues }: ArgumentLimits): void {
  if (count <= maxQueues) return;
  throw new AppError(
    "TOO_MANY_QUEUES",
    `expected at most ${maxQueues} queues in one field (MAX_QUEUES), got ${count}; use several fields or requests`,
  );
}

/** Read together, ten elements take about as long as one queue that is asked for alone. */
const elementsPerPoint = 10;

/** Of a page of at most `first` elements. One of none still looks whether there are any, and costs a point. */
export function pageCost(first: number): FieldCost & { readonly field: number } {
  const points = Math.max(1, Math.ceil(first / elementsPerPoint));
  return { field: points, multiplier: points, items: first };
}

/** The source of whose queues the name is one, whether it is known or not; null when it is free for events. */
export function ownerOf(queue: string, { sources }: ArgumentLimits): string | null {
  return sources.find((source) => queue.startsWith(`${source}/`)) ?? null;
}

/** @throws AppError BAD_USER_INPUT unless the value is a whole number within the bounds, or one of the others allowed. */
export function checkBounds(name: string, value: number, low: number, high: number, orElse?: number): void {
  if ((value >= low && value <= high) || value === orElse) return;
  const expected = `${name} is ${orElse === undefined ? "" : `${orElse} or `}from ${low} to ${high}`;
  throw new AppError("BAD_USER_INPUT", `${expected}, not ${value}`);
}
