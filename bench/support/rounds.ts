/** How long and how often a run measures. */
export interface Plan {
  readonly rounds: number;
  /** Short rounds, to see whether it works; their numbers mean little. */
  readonly isQuick: boolean;
}

/** How long to measure, in ms, where a full run measures for `fullMs`. */
export function lasting({ isQuick }: Plan, fullMs: number): number {
  return isQuick ? Math.min(1_000, fullMs) : fullMs;
}

/**
 * Measures all contestants in every round, each time beginning with another one: what the machine does besides, and what
 * drifts, meets all of them.
 *
 * @returns for each contestant what it measured, in the order of the rounds.
 */
export async function interleave<K extends string, T>(
  { rounds }: Plan,
  contestants: Readonly<Record<K, () => Promise<T>>>,
): Promise<Record<K, T[]>> {
  const names = Object.keys(contestants) as K[];
  const measured = Object.fromEntries(names.map((name) => [name, [] as T[]])) as Record<K, T[]>;
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < names.length; i++) {
      const name = names[(round + i) % names.length] as K;
      measured[name].push(await contestants[name]());
    }
  }
  return measured;
}
