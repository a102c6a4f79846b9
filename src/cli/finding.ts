/** What a check of one part found. A warning needs the operator's eyes; what is wrong keeps the part from working. */
export interface Finding {
  readonly status: "ok" | "warning" | "wrong";
  /** One line. */
  readonly found: string;
}

export interface NamedFinding extends Finding {
  /** The part that was checked, such as `redis` or the name of a source. */
  readonly part: string;
}

const titles = { part: "PART", status: "STATUS", found: "FOUND" };

/** Lines of aligned columns, and how many of the parts are wrong. */
export function findingsTable(findings: readonly NamedFinding[]): string {
  const rows = [titles, ...findings];
  const width = (column: "part" | "status") => Math.max(...rows.map((row) => row[column].length));
  const [part, status] = [width("part"), width("status")];
  const lines = rows.map(
    (row) =>
      `${row.part.padEnd(part)}  ${row.status.padEnd(status)}  ${row.found.replace(/\s+/g, " ").trim()}`,
  );
  const wrong = findings.filter((finding) => finding.status === "wrong").length;
  const summary = wrong === 0 ? "Nothing is wrong." : `${wrong} of ${findings.length} are wrong.`;
  return `${lines.join("\n")}\n\n${summary}\n`;
}
