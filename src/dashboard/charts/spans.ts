/** When an alert fired, and until when. */
export interface Span {
  readonly label: string;
  /** In ms since the epoch. */
  readonly fromMs: number;
  /** Null: it is firing. */
  readonly toMs: number | null;
}

/** Names of the alerts that fired at some time between two instants, each once. */
export function firingBetween(spans: readonly Span[], fromMs: number, toMs: number): readonly string[] {
  const firing = spans.filter((span) => span.fromMs < toMs && (span.toMs ?? toMs) >= fromMs);
  return [...new Set(firing.map(({ label }) => label))];
}

/** An alert, as far as its span reads it. */
export interface SpannedAlert {
  readonly rule: string;
  readonly firedAt: string | null;
  readonly endedAt: string | null;
}

/** The spans in which alerts fired that reach into a range, the earliest first. */
export function spansOf(alerts: readonly SpannedAlert[], fromMs: number, toMs: number): readonly Span[] {
  return alerts
    .flatMap(({ rule, firedAt, endedAt }) =>
      firedAt === null
        ? []
        : [{ label: rule, fromMs: Date.parse(firedAt), toMs: endedAt === null ? null : Date.parse(endedAt) }],
    )
    .filter((span) => span.fromMs < toMs && (span.toMs ?? toMs) > fromMs)
    .sort((a, b) => a.fromMs - b.fromMs);
}
