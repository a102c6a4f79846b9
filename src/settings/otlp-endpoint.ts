import { type OtlpTls, readOtlpTls } from "./otlp-tls.ts";
import { expectedPairs, type Given, type OtlpValues, oneOf, pairsOf, wholeFrom } from "./otlp-values.ts";

export type OtlpSignal = "METRICS" | "TRACES";

/** Where the server sends a signal to by OTLP, and how. */
export interface OtlpEndpointSettings {
  /** The URL for the signal, such as `http://127.0.0.1:4318/v1/metrics`. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  readonly compression: "none" | "gzip";
  /** Attributes of the resource. */
  readonly resource: Readonly<Record<string, string>>;
  readonly tls: OtlpTls;
}

export function hasEndpoint(given: Given, signal: OtlpSignal): boolean {
  return (given[ownName(signal, "ENDPOINT")] ?? given.OTEL_EXPORTER_OTLP_ENDPOINT) !== undefined;
}

/** Reads the variables of the signal alone, else the general ones. There is an endpoint. @returns null, and problems, when one is wrong. */
export function readOtlpEndpoint(values: OtlpValues, signal: OtlpSignal): OtlpEndpointSettings | null {
  const { given, problems } = values;
  const nameOf = (ending: string) => {
    const own = ownName(signal, ending);
    return given[own] === undefined ? `OTEL_EXPORTER_OTLP_${ending}` : own;
  };
  const { tls, problems: ofTls } = readOtlpTls(given, nameOf);
  problems.push(...ofTls);
  values.read(
    nameOf("PROTOCOL"),
    "http/protobuf",
    "http/protobuf, the one protocol of this server",
    oneOf("http/protobuf"),
  );
  const attributes = values.read("OTEL_RESOURCE_ATTRIBUTES", "", expectedPairs, pairsOf) ?? {};
  const service = given.OTEL_SERVICE_NAME ?? attributes["service.name"] ?? "queue-latency";
  const url = values.read(
    nameOf("ENDPOINT"),
    "",
    "http://host[:port][/path], or https://; a password goes to OTEL_EXPORTER_OTLP_HEADERS",
    (text) => (isEndpoint(text) ? urlOf(text, given, signal) : undefined),
  );
  const general = values.read("OTEL_EXPORTER_OTLP_HEADERS", "", expectedPairs, headersOf);
  const own = values.read(ownName(signal, "HEADERS"), "", expectedPairs, headersOf);
  const timeoutMs = values.read(
    nameOf("TIMEOUT"),
    "10000",
    "milliseconds from 1 to 600000",
    wholeFrom(1, 600_000),
  );
  const compression = values.read(nameOf("COMPRESSION"), "none", "none or gzip", oneOf("none", "gzip"));
  if (url === undefined || timeoutMs === undefined || compression === undefined) return null;
  return {
    ...{ url, timeoutMs, compression, tls },
    headers: { ...general, ...own },
    resource: { ...attributes, "service.name": service },
  };
}

function ownName(signal: OtlpSignal, ending: string): string {
  return `OTEL_EXPORTER_OTLP_${signal}_${ending}`;
}

/** The path of the signal completes the general endpoint. */
function urlOf(text: string, given: Given, signal: OtlpSignal): string {
  const { href } = new URL(text);
  if (given[ownName(signal, "ENDPOINT")] !== undefined) return href;
  return `${href.replace(/\/$/, "")}/v1/${signal.toLowerCase()}`;
}

function isEndpoint(text: string): boolean {
  const url = URL.parse(text);
  if (url === null || !/^https?:\/\//i.test(text) || url.port === "0") return false;
  return [url.username, url.password, url.hash, url.search].every((part) => part === "");
}

/** Parses headers that HTTP can carry. */
function headersOf(text: string): Readonly<Record<string, string>> | undefined {
  const pairs = pairsOf(text);
  const isRight = ([name, value]: [string, string]) =>
    /^[!#$%&'*+.^_`|~\w-]+$/.test(name) && /^[\t\x20-\x7e\x80-\xff]*$/.test(value);
  return pairs !== undefined && Object.entries(pairs).every(isRight) ? pairs : undefined;
}
