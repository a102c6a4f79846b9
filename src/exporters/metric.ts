/** A metric, as Prometheus and OpenTelemetry name it. */
export interface MetricHead {
  /** Its name in `/metrics`. */
  readonly name: string;
  readonly type: "gauge" | "counter" | "histogram";
  readonly help: string;
  /** Its name by OTLP, which becomes `name` when Prometheus receives the metric by OTLP. */
  readonly otelName: string;
  /** A unit of UCUM; `{…}` counts things. */
  readonly unit: string;
}

/** A number of a metric. */
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** What stands before the lines of a metric. */
export function headOf({ name, help, type }: Pick<MetricHead, "name" | "help" | "type">): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
}

/** As lines of Prometheus's text format. */
export function linesOf(name: string, samples: readonly Sample[]): string {
  return samples.map(({ labels, value }) => `${name}${bracedLabels(labels)} ${value}\n`).join("");
}

function bracedLabels(labels: Readonly<Record<string, string>>): string {
  const texts = Object.entries(labels).map(([label, value]) => `${label}="${escaped(value)}"`);
  return texts.length === 0 ? "" : `{${texts.join(",")}}`;
}

/** As the value of a label. */
export function escaped(text: string): string {
  return /["\\\n]/.test(text) ? text.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n") : text;
}
