import type { QueueIndex } from "./queue-index.ts";

export interface NamePagesOptions {
  /** Only names that begin with this. */
  readonly prefix?: string;
  /** Names of one page at most. */
  readonly pageSize: number;
  /** Names of all pages at most. @default all */
  readonly max?: number;
}

/**
 * Walks through the names of queues in the order of their bytes; no page is empty.
 *
 * @throws AppError SERVICE_UNAVAILABLE as `list` does.
 */
export async function* namePages(
  { list }: Pick<QueueIndex, "list">,
  { prefix = "", pageSize, max = Number.POSITIVE_INFINITY }: NamePagesOptions,
): AsyncGenerator<readonly string[]> {
  let left = max;
  for (let after: string | null = null; left > 0; ) {
    const limit = Math.min(pageSize, left);
    const names: string[] = await list({ prefix, after, limit });
    if (names.length > 0) yield names;
    if (names.length < limit) return;
    after = names.at(-1) ?? null;
    left -= names.length;
  }
}
