import { useState } from "preact/hooks";
import { formatInstant } from "../format/instant.ts";
import { TableScroll } from "../parts/table-scroll.tsx";
import type { Columns } from "./columns.ts";

export interface ChartTableProps {
  readonly title: string;
  readonly columns: Columns;
  readonly format: (value: number) => string;
  readonly stepMs: number;
}

/** The numbers of a chart, newest first. Its rows are made when it is opened: there may be thousands. */
export function ChartTable({ title, columns, format, stepMs }: ChartTableProps) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="chart-table" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>Table</summary>
      {isOpen && <Rows title={title} columns={columns} format={format} stepMs={stepMs} />}
    </details>
  );
}

function Rows({ title, columns, format, stepMs }: ChartTableProps) {
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
          </tr>
        </thead>
        <tbody>
          {[...x.keys()].reverse().map((place) => (
            <tr key={place}>
              <th scope="row">
                {formatInstant(new Date(startOf(place)))}
                {hasNow && place === x.length - 1 && " (now)"}
              </th>
              {lines.map(({ label, values }) => {
                const value = values[place] ?? null;
                return <td key={label}>{value === null ? "no data" : format(value)}</td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </TableScroll>
  );
}
