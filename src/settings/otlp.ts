import { z } from "zod";
import { type OtlpTls, readOtlpTls } from "./otlp-tls.ts";

/** The variables of OpenTelemetry that this server reads, with the names and the units of its specification. */
const names = [
  "OTEL_EXPORTER_OTLP_ENDPOINT",
  "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
  "OTEL_EXPORTER_OTLP_HEADERS",
  "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
  "OTEL_EXPORTER_OTLP_PROTOCOL",
  "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
  "OTEL_EXPORTER_OTLP_TIMEOUT",
  "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT",
  "OTEL_EXPORTER_OTLP_COMPRESSION",
  "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION",
  "OTEL_EXPORTER_OTLP_CERTIFICATE",
  "OTEL_EXPORTER_OTLP_METRICS_CERTIFICATE",
  "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE",
  "OTEL_EXPORTER_OTLP_METRICS_CLIENT_CERTIFICATE",
  "OTEL_EXPORTER_OTLP_CLIENT_KEY",
  "OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY",
  "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
  "OTEL_METRICS_EXPORTER",
  "OTEL_METRIC_EXPORT_INTERVAL",
  "OTEL_SERVICE_NAME",
  "OTEL_RESOURCE_ATTRIBUTES",
  "OTEL_SDK_DISABLED",
] as const;

type Name = (typeof names)[number];
type Given = Readonly<Record<string, string | undefined>>;

/** Where the server sends metrics to by OTLP, how, and how often. */
export interface OtlpMetricsSettings {
  /** The URL for metrics, such as `http://127.0.0.1:4318/v1/metrics`. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly compression: "none" | "gzip";
  readonly intervalMs: number;
  /** Attributes of the resource. */
  readonly resource: Readonly<Record<string, string>>;
  readonly tls: OtlpTls;
  /** How long the last export may take when the server stops. @default 2_000 // 2 seconds */
  readonly flushMs?: number;
}

/** All are texts: other programs share these variables, so `readOtlp` checks them when there is an endpoint. */
export function otlpSettings(): Record<Name, z.ZodOptional<z.ZodString>> {
  const entries = names.map((name) => [name, z.string().optional()] as const);
  return Object.fromEntries(entries) as Record<Name, z.ZodOptional<z.ZodString>>;
}

export interface ReadOtlp {
  /** Null: nothing is sent. */
  readonly metrics: OtlpMetricsSettings | null;
  readonly problems: readonly string[];
}

/** A variable of metrics alone is in place of the general one; without an endpoint nothing is sent, and no other variable counts. */
export function readOtlp(given: Given): ReadOtlp {
  const endpoint = endpointOf(given);
  if (
    endpoint === null ||
    given.OTEL_SDK_DISABLED?.toLowerCase() === "true" ||
    given.OTEL_METRICS_EXPORTER === "none"
  )
    return { metrics: null, problems: [] };
  const { tls, problems: ofTls } = readOtlpTls(given);
  const problems: string[] = [...ofTls];
  const check = <T>(
    name: Name,
    text: string,
    expected: string,
    parse: (text: string) => T | undefined,
  ): T => {
    const value = parse(text);
    if (value === undefined) {
      const got = isSecret(name) ? "" : `, got ${JSON.stringify(text)}`;
      problems.push(`${name}: expected ${expected}${got}`);
    }
    return value as T;
  };
  /** Reads the variable of metrics alone, else the general one, else the default. */
  const read = <T>(
    ending: string,
    byDefault: string,
    expected: string,
    parse: (text: string) => T | undefined,
  ): T => {
    const own = `OTEL_EXPORTER_OTLP_METRICS_${ending}` as Name;
    const name = given[own] === undefined ? (`OTEL_EXPORTER_OTLP_${ending}` as Name) : own;
    return check(name, given[name] ?? byDefault, expected, parse);
  };
  const pairs = "key=value, several separated by commas, with percent codes for other characters";
  const readOne = <T>(
    name: Name,
    byDefault: string,
    expected: string,
    parse: (text: string) => T | undefined,
  ): T => check(name, given[name] ?? byDefault, expected, parse);

  readOne("OTEL_METRICS_EXPORTER", "otlp", "otlp or none", oneOf("otlp"));
  read("PROTOCOL", "http/protobuf", "http/protobuf, the one protocol of this server", oneOf("http/protobuf"));
  readOne(
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
    "cumulative",
    "cumulative, since totals are those in Redis",
    oneOf("cumulative"),
  );
  const attributes = readOne("OTEL_RESOURCE_ATTRIBUTES", "", pairs, pairsOf) ?? {};
  const service = given.OTEL_SERVICE_NAME ?? attributes["service.name"] ?? "queue-latency";
  const metrics: OtlpMetricsSettings = {
    url: check(
      endpoint.name,
      endpoint.text,
      "http://host[:port][/path], or https://; a password goes to OTEL_EXPORTER_OTLP_HEADERS",
      (text) => (isEndpoint(text) ? endpoint.urlOf(text) : undefined),
    ),
    headers: {
      ...check("OTEL_EXPORTER_OTLP_HEADERS", given.OTEL_EXPORTER_OTLP_HEADERS ?? "", pairs, headersOf),
      ...check(
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
        given.OTEL_EXPORTER_OTLP_METRICS_HEADERS ?? "",
        pairs,
        headersOf,
      ),
    },
    timeoutMs: read("TIMEOUT", "10000", "milliseconds from 1 to 600000", (text) => wholeOf(text, 1, 600_000)),
    compression: read("COMPRESSION", "none", "none or gzip", oneOf("none", "gzip")),
    intervalMs: readOne(
      "OTEL_METRIC_EXPORT_INTERVAL",
      "60000",
      "milliseconds from 1000 to 86400000",
      (text) => wholeOf(text, 1_000, 86_400_000),
    ),
    resource: { ...attributes, "service.name": service },
    tls,
  };
  return { metrics: problems.length === 0 ? metrics : null, problems };
}

interface GivenEndpoint {
  readonly name: Name;
  readonly text: string;
  readonly urlOf: (text: string) => string;
}

/** The path of the signal completes the general endpoint. */
function endpointOf(given: Given): GivenEndpoint | null {
  const [own, general] = [given.OTEL_EXPORTER_OTLP_METRICS_ENDPOINT, given.OTEL_EXPORTER_OTLP_ENDPOINT];
  if (own !== undefined)
    return { name: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", text: own, urlOf: (text) => new URL(text).href };
  if (general === undefined) return null;
  return {
    ...{ name: "OTEL_EXPORTER_OTLP_ENDPOINT", text: general },
    urlOf: (text) => `${new URL(text).href.replace(/\/$/, "")}/v1/metrics`,
  };
}

function isEndpoint(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || !/^https?:\/\//i.test(text) || url.port === "0") return false;
  return [url.username, url.password, url.hash, url.search].every((part) => part === "");
}

function isSecret(name: string): boolean {
  return /_(HEADERS|ENDPOINT)$/.test(name);
}

function oneOf<T extends string>(...values: readonly T[]): (text: string) => T | undefined {
  return (text) => values.find((value) => value === text);
}

function wholeOf(text: string, low: number, high: number): number | undefined {
  const value = Number(text);
  return /^\d+$/.test(text) && value >= low && value <= high ? value : undefined;
}

/** Parses pairs as the specification writes them, after W3C Baggage without properties. */
function pairsOf(text: string): Readonly<Record<string, string>> | undefined {
  const pairs = text.split(",").filter((pair) => pair.trim() !== "");
  const read = pairs.map((pair) => /^\s*([^\s=]+)\s*=\s*(.*?)\s*$/.exec(pair));
  if (read.includes(null)) return undefined;
  try {
    return Object.fromEntries(
      read.map((pair) => [decodeURIComponent(pair?.[1] ?? ""), decodeURIComponent(pair?.[2] ?? "")]),
    );
  } catch {
    return undefined;
  }
}

/** Parses headers that HTTP can carry. */
function headersOf(text: string): Readonly<Record<string, string>> | undefined {
  const pairs = pairsOf(text);
  const isRight = ([name, value]: [string, string]) =>
    /^[!#$%&'*+.^_`|~\w-]+$/.test(name) && /^[\t\x20-\x7e\x80-\xff]*$/.test(value);
  return pairs !== undefined && Object.entries(pairs).every(isRight) ? pairs : undefined;
}
