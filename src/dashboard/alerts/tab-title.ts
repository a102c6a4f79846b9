import { formatAtLeast } from "../format/count.ts";

/** The title of the tab: firing alerts first, so that a narrow tab shows their number, which may be greater. */
export function titleOf(page: string, firing: number, isPartial = false): string {
  const title = page === "" ? "queue-latency" : `${page} · queue-latency`;
  return firing === 0 ? title : `(${formatAtLeast(firing, isPartial)}) ${title}`;
}
