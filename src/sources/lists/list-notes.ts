import type { KnownElement } from "./known-elements.ts";
import type { ListMarks } from "./list-marks.ts";
import type { Span } from "./list-spans.ts";

/** Marks of a queue's lists, as text that a later reader goes on from. */
export function notesOf(marks: readonly ListMarks[]): string {
  return JSON.stringify({ version, lists: marks.map(packed) });
}

/** @returns null when the text is not of this version. */
export function marksIn(notes: string, lists: number): readonly ListMarks[] | null {
  try {
    const read = JSON.parse(notes);
    if (read.version !== version || read.lists.length !== lists) return null;
    return read.lists.map(unpacked);
  } catch {
    return null;
  }
}

/** Another one means another form, or other digests of the same elements. */
const version = 2;

type PackedSpan = readonly [to: number, digest: string, after: number | null, by: number, doubtful: 0 | 1];
type PackedElement = readonly [digest: string, from: number, to: number];
interface PackedMarks extends Omit<ListMarks, "known" | "spans"> {
  readonly known: readonly PackedElement[];
  readonly spans: readonly PackedSpan[];
}

function packed(marks: ListMarks): PackedMarks {
  return {
    ...marks,
    known: marks.known.map(({ digest, number: [from, to] }): PackedElement => [digest, from, to]),
    spans: marks.spans.map(
      ({ to, digest, afterMs, byMs, isDoubtful }): PackedSpan => [
        ...([to, digest, afterMs, byMs] as const),
        isDoubtful ? 1 : 0,
      ],
    ),
  };
}

function unpacked(marks: PackedMarks): ListMarks {
  return {
    ...marks,
    known: marks.known.map(([digest, from, to]): KnownElement => ({ digest, number: [from, to] })),
    spans: marks.spans.map(
      ([to, digest, afterMs, byMs, doubtful]): Span => ({
        ...{ to, digest, afterMs, byMs },
        isDoubtful: doubtful === 1,
      }),
    ),
  };
}
