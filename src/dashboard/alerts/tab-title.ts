/** The title of the tab: firing alerts first, so that a narrow tab shows their number. */
export function titleOf(page: string, firing: number): string {
  const title = page === "" ? "queue-latency" : `${page} · queue-latency`;
  return firing === 0 ? title : `(${firing}) ${title}`;
}
