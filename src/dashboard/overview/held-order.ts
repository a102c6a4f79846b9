/** Names of queues by their row. */
export type Rows = ReadonlyMap<number, string>;

/** The rows of a page that begins at `offset`. */
export function rowsOf(names: readonly string[], offset: number): Rows {
  return new Map(names.map((name, i) => [offset + i, name]));
}

/**
 * The order while it is held: a row keeps its queue, and a row that was not there yet takes the first queue of the page that has no row.
 */
export function holdOrder(held: Rows, names: readonly string[], offset: number): Rows {
  const rows = new Map(held);
  const placed = new Set(held.values());
  const free = names.filter((name) => !placed.has(name));
  for (let row = offset; free.length > 0 && row < offset + names.length; row++) {
    if (!rows.has(row)) rows.set(row, free.shift() ?? "");
  }
  return rows;
}

/** How many rows a table has: those of the page, and any that are held further down, since queues may leave from above them. */
export function rowCount(held: Rows, total: number): number {
  let count = total;
  for (const row of held.keys()) if (row >= count) count = row + 1;
  return count;
}

/** Whether the page has another order than the rows that are held. */
export function isOutdated(held: Rows, names: readonly string[], offset: number): boolean {
  return names.some((name, i) => held.has(offset + i) && held.get(offset + i) !== name);
}
