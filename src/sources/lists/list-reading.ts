/** What read-lists.lua returned of a list. Digests are of the elements. */
export interface ListReading {
  readonly nowMs: number;
  readonly length: number;
  /** Length and ends are as they were: then the rest is empty. */
  readonly isSame: boolean;
  /** From the newest on. */
  readonly newest: readonly string[];
  /** The known element nearest to the newest, and how many are newer. */
  readonly newHit: Hit | null;
  /** All elements were compared with the known ones, and none is one. */
  readonly isWhole: boolean;
  /** From the head on. */
  readonly oldest: readonly string[];
  /** The known element nearest to the head, and how many are before it. */
  readonly oldHit: Hit | null;
  /** Of the elements with 32, 64, 128, … before them. */
  readonly samples: readonly string[];
}

export interface Hit {
  readonly place: number;
  readonly digest: string;
}
