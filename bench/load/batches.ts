/** How many events a batch has: half of them enqueue, the others dequeue what the batch before has enqueued. */
export const batchSize = 500;

/** An id has 24 characters: 12 that say which batch enqueued the job, and 12 that say which of its jobs it is. */
export const suffixes: readonly string[] = Array.from({ length: batchSize / 2 }, (_, i) =>
  String(i).padStart(12, "0"),
);

export function prefixOf(batch: number): string {
  return String(batch).padStart(12, "0");
}

/** Ids of the jobs that a batch enqueues. */
export function jobIds(batch: number): readonly string[] {
  const prefix = prefixOf(batch);
  return suffixes.map((suffix) => prefix + suffix);
}

/** An id that no other batch of a run has. */
export function batchIdOf(queue: string, batch: number): string {
  return `${queue}-${batch}`;
}
