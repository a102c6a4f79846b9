import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { messageOf } from "../core/errors.ts";

const maxReasonLength = 200;

/** The receiver answered, but not with 2xx. The message names the host and not the rest of the URL, which may hold a secret. */
export class ReceiverError extends Error {
  readonly status: number;

  constructor(host: string, status: number, reason: string) {
    super(`${host} answered ${status}${reason === "" ? "" : `: ${reason}`}`);
    this.name = "ReceiverError";
    this.status = status;
  }

  /** The receiver understood the request and will not accept it; unlike one that is overloaded or broken. */
  get isRefusal(): boolean {
    return this.status >= 300 && this.status < 500 && ![408, 425, 429].includes(this.status);
  }
}

export interface SendOptions {
  readonly url: string;
  /** Sent by POST as it is; without a body the request is a GET. */
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  /** @default 10_000 // 10 seconds */
  readonly timeoutMs?: number | undefined;
}

/**
 * Resolves when the receiver has answered with 2xx. Redirects are not followed: the operator named the receiver. `user:password@`
 * in the URL is sent as Basic authorization.
 *
 * Uses node:http because fetch refuses some ports. Each request has its own connection: requests are rare, and a kept connection
 * that the receiver has closed meanwhile would look like a failed delivery.
 *
 * @throws ReceiverError, or Error when no answer came in time.
 */
export async function sendRequest(options: SendOptions): Promise<void> {
  const { signal, timeoutMs = 10_000 } = options;
  const { host } = new URL(options.url);
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    const response = await answerTo(options, AbortSignal.any([signal, timeout]));
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) response.destroy();
    else throw new ReceiverError(host, status, await beginningOf(response));
  } catch (error) {
    if (error instanceof ReceiverError) throw error;
    const reason = timeout.aborted ? `no answer within ${timeoutMs} ms` : messageOf(error);
    throw new Error(`${host} does not answer: ${reason}`, { cause: error });
  }
}

function answerTo({ url, body, headers = {} }: SendOptions, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const target = new URL(url);
    const send = target.protocol === "https:" ? httpsRequest : httpRequest;
    const request = send(target, {
      method: body === undefined ? "GET" : "POST",
      headers: {
        "user-agent": "queue-latency",
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      agent: false,
      signal,
    });
    request.once("response", (response) => {
      // A connection may also fail after the status was read; reading the body reports that.
      response.on("error", () => {});
      resolve(response);
    });
    request.on("error", reject);
    request.end(body);
  });
}

/** The first words of what it answered, on one line. */
async function beginningOf(response: IncomingMessage): Promise<string> {
  try {
    for await (const chunk of response) {
      return Buffer.from(chunk)
        .toString()
        .replace(/[^\P{C}]+|\s+/gu, " ")
        .trim()
        .slice(0, maxReasonLength);
    }
  } catch {
    // The status is an answer, whether or not a body comes.
  }
  return "";
}
