/**
 * The candidate that was probably meant; null when none is close. Two words are close when they become the same by few insertions,
 * deletions, replacements and swaps of neighbours, at most one for each four letters, and three.
 */
export function closest(word: string, candidates: readonly string[]): string | null {
  const found = candidates
    .map((candidate) => ({ candidate, distance: editDistance(word.toLowerCase(), candidate.toLowerCase()) }))
    .filter(
      ({ candidate, distance }) =>
        distance <= Math.min(maxDistance, Math.max(1, Math.floor(candidate.length / 4))),
    )
    .sort((a, b) => a.distance - b.distance);
  return found[0]?.candidate ?? null;
}

/** Damerau and Levenshtein's, with each pair of neighbours swapped at most once (optimal string alignment). */
function editDistance(a: string, b: string): number {
  // The distance is at least the difference in length.
  if (Math.abs(a.length - b.length) > maxDistance) return maxDistance + 1;
  let beforeLast: readonly number[] = [];
  let last: readonly number[] = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row[j] = Math.min(
        at(last, j) + 1,
        at(row, j - 1) + 1,
        at(last, j - 1) + (isSame ? 0 : 1),
        isSwapped ? at(beforeLast, j - 2) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    beforeLast = last;
    last = row;
  }
  return at(last, b.length);
}

/** Long names of other programs differ from ours by one word: `OTEL_EXPORTER_OTLP_LOGS_TIMEOUT`. */
const maxDistance = 3;

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY;
}
