import type { ListReading } from "./list-reading.ts";

/** The first and the last number that an element may have. */
export type NumberRange = readonly [from: number, to: number];

export interface KnownElement {
  readonly digest: string;
  readonly number: NumberRange;
}

/** As in read-lists.lua. */
const firstSample = 32;

/** Where an element is. */
export interface Place {
  /** How many elements are before it. */
  readonly place: number;
  readonly digest: string;
}

export interface NumberedPlace extends Place {
  readonly number: NumberRange;
}

/** The elements that were looked at, from the head on, with the numbers that `numberOf` returns; null: left out. */
export function numbered(
  { length, newest, oldest, samples }: ListReading,
  numberOf: (place: Place, previous: NumberedPlace | null) => NumberRange | null,
): readonly KnownElement[] {
  const digests = new Map<number, string>();
  for (const [i, digest] of oldest.entries()) digests.set(i, digest);
  for (const [i, digest] of samples.entries()) digests.set(firstSample * 2 ** i, digest);
  for (const [i, digest] of newest.entries()) digests.set(length - 1 - i, digest);
  const found: NumberedPlace[] = [];
  for (const place of [...digests.keys()].sort((a, b) => a - b)) {
    const digest = digests.get(place) ?? "";
    const number = numberOf({ place, digest }, found.at(-1) ?? null);
    if (number !== null) found.push({ place, digest, number });
  }
  const counts = Map.groupBy(digests.values(), (digest) => digest);
  return found
    .filter(({ digest }) => counts.get(digest)?.length === 1)
    .map(({ digest, number }) => ({ digest, number }));
}

/** Without the digests of which there are two with different numbers. */
export function distinct(elements: readonly KnownElement[]): readonly KnownElement[] {
  const byDigest = new Map<string, KnownElement | null>();
  for (const element of elements) {
    const other = byDigest.get(element.digest);
    const [from, to] = element.number;
    const isOther = other !== undefined && (other === null || to < other.number[0] || from > other.number[1]);
    byDigest.set(element.digest, isOther ? null : (other ?? element));
  }
  return [...byDigest.values()].filter((element) => element !== null);
}

/** The digest of the newest element, where no other one has it. */
export function newestOf({ newest: [digest = ""] }: ListReading, known: readonly KnownElement[]): string {
  return known.some((element) => element.digest === digest) ? digest : "";
}

export function endsOf({ newest, oldest }: ListReading): readonly [newest: string, head: string] {
  return [newest[0] ?? "", oldest[0] ?? ""];
}
