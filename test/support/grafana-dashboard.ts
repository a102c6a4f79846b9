import { readFileSync } from "node:fs";
import { join } from "node:path";
import { project } from "./pages.ts";

/** What a test reads of a dashboard: Grafana's own types have the rest. */
export interface GrafanaDashboard {
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
    readonly targets?: readonly { readonly expr: string }[];
  }[];
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly query: string | { readonly query: string } }[];
  };
  readonly annotations: { readonly list: readonly { readonly target: { readonly expr: string } }[] };
}

/** docs/grafana/queue-latency.json, as text. */
export const dashboardText = readFileSync(join(project, "docs/grafana/queue-latency.json"), "utf8");

export const dashboard = JSON.parse(dashboardText) as GrafanaDashboard;

/** All expressions of panels and annotations, as Grafana sends them for one queue and all sources. */
export function dashboardExpressions(queue: string): readonly string[] {
  const targets = dashboard.panels.flatMap(({ targets = [] }) => targets);
  const annotations = dashboard.annotations.list.map(({ target }) => target);
  return [...targets, ...annotations].map(({ expr }) =>
    expr.replaceAll("$queue", queue).replaceAll("$source", ".*").replaceAll("$__rate_interval", "1m"),
  );
}
