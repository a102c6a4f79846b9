import type { Axis } from "./axis.ts";
import type { Columns, FormatValue } from "./columns.ts";
import type { Span } from "./spans.ts";

/** What a plot shows. */
export interface PlotContent {
  readonly columns: Columns;
  readonly axis: Axis;
  readonly format: FormatValue;
  /** Of the values of the axis. */
  readonly formatTick: (value: number) => string;
  /** Ends of the time axis, in seconds since the epoch. */
  readonly fromSeconds: number;
  readonly toSeconds: number;
  /** A level to compare the lines with, such as the objective. */
  readonly level: { readonly value: number; readonly label: string } | null;
  /** Times that are marked from top to bottom. */
  readonly spans: readonly Span[];
}
