// Loads the OpenTelemetry SDK, so only what is loaded when OTLP is configured imports it.
import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { DiagLogLevel, diag } from "@opentelemetry/api";
import { RejectedError } from "./rejected-error.ts";

/** Where the server sends a signal to, and how. */
export interface OtlpEndpoint {
  /** The URL for the signal, such as `http://127.0.0.1:4318/v1/metrics`. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** How long one request may take, with all its retries. */
  readonly timeoutMs: number;
  readonly compression: "none" | "gzip";
  /** PEM texts for `https://`. */
  readonly tls: { readonly ca?: string; readonly cert?: string; readonly key?: string };
}

/** What an exporter of the SDK calls back with. */
interface ExportResult {
  readonly code: number;
  readonly error?: Error;
}

export interface OtlpRequestsOptions {
  readonly version: string;
  /** Called when the collector accepted everything, and says something about it. */
  readonly onWarning: (warning: string) => void;
}

/** What requests of any signal have in common, since the SDK's exporters do not do it. */
export function createOtlpRequests(endpoint: OtlpEndpoint, { version, onWarning }: OtlpRequestsOptions) {
  const { url, headers, timeoutMs, compression, tls } = endpoint;
  const agent = /^https:/i.test(url)
    ? new HttpsAgent({ keepAlive: true, ...tls })
    : new HttpAgent({ keepAlive: true });
  forgetEnvironment();

  /** The SDK's own timeout begins again with each byte of the answer. */
  async function beforeDeadline(exported: Promise<void>): Promise<void> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      reject(new Error(`no full answer within ${timeoutMs} ms`));
      agent.destroy();
    }, timeoutMs).unref();
    await Promise.race([exported, late]).finally(() => clearTimeout(timer));
  }

  return {
    /** For the exporter of a signal. */
    exporterOptions: {
      ...{ url, headers: { ...headers }, timeoutMillis: timeoutMs, httpAgentOptions: () => agent },
      // The SDK's enum has these texts for values.
      compression: compression as never,
      userAgent: `queue-latency/${version}`,
    },
    /**
     * @throws RejectedError when the collector answered, and did not accept all of it.
     * @throws Error when the collector did not answer, or asked to try again later.
     */
    async send(runExport: (done: (result: ExportResult) => void) => void): Promise<void> {
      const exported = new Promise<void>((resolve, reject) => {
        runExport(({ code, error }) => {
          const { rejected, errorMessage } = takePartialSuccess();
          if (code !== 0) return reject(rejectionOf(error));
          if (rejected !== null) return reject(new RejectedError(`${rejected} rejected: ${errorMessage}`));
          if (errorMessage !== "") onWarning(errorMessage);
          resolve();
        });
      });
      await beforeDeadline(exported);
    },
    close: () => agent.destroy(),
  };
}

/** The SDK adds these variables to its options. The settings have them already, after the flags that override them. */
function forgetEnvironment(): void {
  // biome-ignore lint/style/noProcessEnv: the SDK reads it, and has no option against that
  const env = process.env;
  for (const name of Object.keys(env)) if (merged.test(name)) delete env[name];
}

const merged = /^OTEL_EXPORTER_OTLP_((METRICS|TRACES)_)?(HEADERS|CERTIFICATE|CLIENT_CERTIFICATE|CLIENT_KEY)$/;

/** An error with a status is the collector's answer to this request. */
function rejectionOf(error: Error | undefined): Error {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: string };
  if (typeof code === "number") return new RejectedError(`the collector answered ${code} ${message ?? ""}`);
  return error ?? new Error("the SDK sent nothing");
}

interface PartialSuccess {
  readonly rejectedDataPoints?: number;
  readonly rejectedSpans?: number;
  readonly errorMessage?: string;
}

/** The SDK only logs what a collector says of what it rejected, just before it reports a success. */
let partialSuccess: PartialSuccess = {};
const ignore = () => {};
diag.setLogger(
  {
    ...{ verbose: ignore, debug: ignore, info: ignore, error: ignore },
    warn(message, json) {
      if (/partial success/i.test(message)) partialSuccess = JSON.parse(String(json));
    },
  },
  DiagLogLevel.WARN,
);

function takePartialSuccess(): { readonly rejected: string | null; readonly errorMessage: string } {
  const { rejectedDataPoints = 0, rejectedSpans = 0, errorMessage = "" } = partialSuccess;
  partialSuccess = {};
  const rejected =
    rejectedSpans > 0
      ? `${rejectedSpans} spans`
      : rejectedDataPoints > 0
        ? `${rejectedDataPoints} points`
        : null;
  return { rejected, errorMessage };
}
