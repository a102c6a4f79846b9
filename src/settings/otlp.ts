import { z } from "zod";
import {
  hasEndpoint,
  type OtlpEndpointSettings,
  type OtlpSignal,
  readOtlpEndpoint,
} from "./otlp-endpoint.ts";
import { createOtlpValues, type Given, type OtlpValues, oneOf, ratioOf, wholeFrom } from "./otlp-values.ts";
import type { SettingWarning } from "./setting-warnings.ts";

/** The variables of OpenTelemetry that this server reads, with the names and the units of its specification. */
const names = [
  "OTEL_EXPORTER_OTLP_ENDPOINT",
  "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
  "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
  "OTEL_EXPORTER_OTLP_HEADERS",
  "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
  "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
  "OTEL_EXPORTER_OTLP_PROTOCOL",
  "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
  "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
  "OTEL_EXPORTER_OTLP_TIMEOUT",
  "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
  "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
  "OTEL_EXPORTER_OTLP_COMPRESSION",
  "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
  "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
  "OTEL_EXPORTER_OTLP_CERTIFICATE",
  "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
  "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE",
  "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
  "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
  "OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE",
  "OTEL_EXPORTER_OTLP_CLIENT_KEY",
  "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
  "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY",
  "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
  "OTEL_METRICS_EXPORTER",
  "OTEL_METRIC_EXPORT_INTERVAL",
  "OTEL_TRACES_EXPORTER",
  "OTEL_TRACES_SAMPLER",
  "OTEL_TRACES_SAMPLER_ARG",
  "OTEL_SERVICE_NAME",
  "OTEL_RESOURCE_ATTRIBUTES",
  "OTEL_SDK_DISABLED",
] as const;

type Name = (typeof names)[number];

/** Where the server sends metrics to by OTLP, how, and how often. */
export interface OtlpMetricsSettings extends OtlpEndpointSettings {
  readonly intervalMs: number;
  /** How long the last export may take when the server stops. @default 2_000 // 2 seconds */
  readonly flushMs?: number;
}

/** Where the server sends traces to by OTLP, how, and which of them. */
export interface OtlpTracesSettings extends OtlpEndpointSettings {
  /** Of traces that begin here, the share that is sent. */
  readonly ratio: number;
  /** Whether a trace that began elsewhere is sent when its `traceparent` has the sampled flag, and only then. */
  readonly followsParent: boolean;
  /** How long the last export may take when the server stops. @default 2_000 // 2 seconds */
  readonly flushMs?: number;
}

/** All are texts: other programs share these variables, so `readOtlp` checks them when there is an endpoint. */
export function otlpSettings(): Record<Name, z.ZodOptional<z.ZodString>> {
  const entries = names.map((name) => [name, z.string().optional()] as const);
  return Object.fromEntries(entries) as Record<Name, z.ZodOptional<z.ZodString>>;
}

export interface ReadOtlp {
  /** Null: no metrics are sent. */
  readonly metrics: OtlpMetricsSettings | null;
  /** Null: no traces are sent. */
  readonly traces: OtlpTracesSettings | null;
  readonly problems: readonly string[];
  readonly warnings: readonly SettingWarning[];
}

/** A variable of one signal is in place of the general one; without an endpoint nothing is sent, and no other variable counts. */
export function readOtlp(given: Given): ReadOtlp {
  const values = createOtlpValues(given);
  const isDisabled = given.OTEL_SDK_DISABLED?.toLowerCase() === "true";
  const isOn = (signal: OtlpSignal, byDefault: string) =>
    !isDisabled &&
    hasEndpoint(given, signal) &&
    values.read(
      `OTEL_${signal}_EXPORTER`,
      byDefault,
      "otlp or none, the only ones of this server",
      oneOf("otlp", "none"),
    ) === "otlp";
  const metrics = isOn("METRICS", "otlp") ? readMetrics(values) : null;
  const traces = isOn("TRACES", "none") ? readTraces(values) : null;
  return {
    ...{ metrics, traces },
    // Both read the general variables.
    problems: [...new Set(values.problems)],
    warnings: isDisabled ? [] : unsentTraces(given),
  };
}

function readMetrics(values: OtlpValues): OtlpMetricsSettings | null {
  values.read(
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    "cumulative",
    "cumulative, since totals are those in Redis",
    oneOf("cumulative"),
  );
  const intervalMs = values.read(
    "OTEL_METRIC_EXPORT_INTERVAL",
    "60000",
    "milliseconds from 1000 to 86400000",
    wholeFrom(1_000, 86_400_000),
  );
  const endpoint = readOtlpEndpoint(values, "METRICS");
  return endpoint === null || intervalMs === undefined ? null : { ...endpoint, intervalMs };
}

const samplers = ["always_on", "always_off", "traceidratio"] as const;

function readTraces(values: OtlpValues): OtlpTracesSettings | null {
  const all = samplers.flatMap((name) => [name, `parentbased_${name}` as const]);
  const sampler = values.read("OTEL_TRACES_SAMPLER", "parentbased_always_on", all.join(", "), oneOf(...all));
  const isRatio = sampler?.endsWith("traceidratio") === true;
  const share = isRatio
    ? values.read("OTEL_TRACES_SAMPLER_ARG", "1", "a share from 0 to 1, such as 0.1", ratioOf)
    : Number(sampler?.endsWith("always_on"));
  const endpoint = readOtlpEndpoint(values, "TRACES");
  if (endpoint === null || sampler === undefined || share === undefined) return null;
  return { ...endpoint, ratio: share, followsParent: sampler.startsWith("parentbased_") };
}

/** Traces are off by default, where the specification sends them. */
function unsentTraces(given: Given): readonly SettingWarning[] {
  if (given.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT !== undefined && given.OTEL_TRACES_EXPORTER === undefined)
    return [
      {
        setting: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        message: "no traces are sent: set OTEL_TRACES_EXPORTER=otlp to send them",
      },
    ];
  if (given.OTEL_TRACES_EXPORTER === "otlp" && !hasEndpoint(given, "TRACES"))
    return [
      {
        setting: "OTEL_TRACES_EXPORTER",
        message: "no traces are sent: set OTEL_EXPORTER_OTLP_ENDPOINT to the collector",
      },
    ];
  return [];
}
