import { useState } from "preact/hooks";
import { Instant } from "../parts/instant.tsx";
import { TableScroll } from "../parts/table-scroll.tsx";
import type { PlotContent } from "./plot-content.ts";
import { PointValue } from "./point-value.tsx";
import { firingBetween } from "./spans.ts";

export interface ChartTableProps {
  readonly title: string;
  readonly content: PlotContent;
  readonly stepMs: number;
}

/** The numbers of a chart, newest first. Its rows are made when it is opened: there may be thousands. */
export function ChartTable({ title, content, stepMs }: ChartTableProps) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="chart-table" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Table</summary>
      {isOpen && <Rows title={title} content={content} stepMs={stepMs} />}
    </details>
  );
}

function Rows({ title, content, stepMs }: ChartTableProps) {
  const { columns, spans } = content;
  const { x, lines, hasNow } = columns;
  const startOf = (place: number) => {
    const isNow = hasNow && place === x.length - 1;
    return (x[place] ?? 0) * 1000 - (isNow ? 0 : stepMs / 2);
  };
  return (
    <TableScroll label={`${title}, as a table`}>
      <table>
        <thead>
          <tr>
            <th scope="col">Step begins</th>
            {lines.map(({ label }) => (
              <th scope="col" key={label}>
                {label}
              </th>
            ))}
            {spans.length > 0 && <th scope="col">Alerts that fired</th>}
          </tr>
        </thead>
        <tbody>
          {[...x.keys()].reverse().map((place) => (
            <tr key={place}>
              <th scope="row">
                <Instant at={new Date(startOf(place))} />
                {hasNow && place === x.length - 1 && " (now)"}
              </th>
              {lines.map((line) => (
                <td key={line.label}>
                  <PointValue content={content} line={line} place={place} />
                </td>
              ))}
              {spans.length > 0 && (
                <td>{firingBetween(spans, startOf(place), startOf(place) + stepMs).join(", ")}</td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </TableScroll>
  );
}
