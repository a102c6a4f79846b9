/** What a field declares in the schema, by its arguments: a number of points, or more than that. */
export type DeclaredCost = number | FieldCost;

export interface FieldCost {
  /** Points of the field itself. */
  readonly field?: number;
  /** Points of the field itself that count once, whatever the multipliers of the fields around it. */
  readonly once?: number;
  /** How many times what is selected below counts: once for each queue that it is read for, say. @default 1 */
  readonly multiplier?: number;
  /** How many elements the list in the answer has at most. @default 8 for a list */
  readonly items?: number;
  /** How long its value may be in the answer, in bytes, where it is a text that is longer than most values. */
  readonly bytes?: number;
  /** Whether it depends on the time, and not only on the arguments. @default false */
  readonly isTimed?: boolean;
  /** What a mutation takes from the budget for recording, in events. Its points are then not taken from those for reading. */
  readonly events?: number;
}

/** A field that costs nothing, whose value may have up to `bytes` bytes. */
export function text(bytes: number): () => FieldCost {
  return () => ({ bytes });
}
