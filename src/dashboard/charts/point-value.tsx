import { AccuracySign } from "../parts/accuracy.tsx";
import type { LineColumns } from "./columns.ts";
import type { PlotContent } from "./plot-content.ts";

interface PointValueProps {
  readonly content: Pick<PlotContent, "columns" | "format">;
  readonly line: LineColumns;
  /** On the time axis. */
  readonly place: number;
}

/** One value of a chart, with how far it can be trusted. */
export function PointValue({ content, line, place }: PointValueProps) {
  const value = line.values[place] ?? null;
  if (value === null) return "no data";
  return (
    <>
      {content.columns.incomplete[place] === true && <AccuracySign accuracy="INCOMPLETE" />}
      {content.format(value, line.atLeast[place])}
    </>
  );
}
