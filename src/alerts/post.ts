/** How long a receiver may take to answer. */
const timeoutMs = 10_000;
const mostReason = 200;

/** It answered, but not with 2xx. Its message names the host, and nothing else of the URL, which may hold a secret. */
export class ReceiverError extends Error {
  readonly status: number;

  constructor(host: string, status: number, reason: string) {
    super(`${host} answered ${status}${reason === "" ? "" : `: ${reason}`}`);
    this.name = "ReceiverError";
    this.status = status;
  }
}

export interface SendOptions {
  readonly url: string;
  /** Sent by POST as it is; none: a GET. */
  readonly body?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/**
 * Resolves when the receiver has answered with 2xx. Redirects are not followed: a receiver is whom the operator named. What
 * stands before the host, `user:password@`, is sent as Basic authorization.
 *
 * @throws ReceiverError, or Error when no answer came within ten seconds.
 */
export async function sendRequest({ url, body, headers = {}, signal }: SendOptions): Promise<void> {
  const target = new URL(url);
  const { host, username, password } = target;
  target.username = target.password = "";
  const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const authorization = `Basic ${Buffer.from(credentials).toString("base64")}`;
  const response = await fetch(target, {
    method: body === undefined ? "GET" : "POST",
    headers: {
      "user-agent": "queue-latency",
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(credentials === ":" ? {} : { authorization }),
      ...headers,
    },
    ...(body === undefined ? {} : { body }),
    redirect: "manual",
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
  }).catch((error: unknown) => {
    throw new Error(`${host} does not answer: ${causeOf(error)}`, { cause: error });
  });
  if (response.ok) {
    await response.body?.cancel();
    return;
  }
  throw new ReceiverError(host, response.status, await beginningOf(response));
}

/** `fetch failed` says nothing; its cause does. */
function causeOf(error: unknown): string {
  const { cause, message } = error as Error;
  return cause instanceof Error ? cause.message || cause.name : message;
}

/** The first words of what it answered, on one line. */
async function beginningOf(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  const first = await reader?.read().catch(() => undefined);
  await reader?.cancel().catch(() => {});
  const text = Buffer.from(first?.value ?? []).toString();
  return text
    .replace(/[^\P{C}]+|\s+/gu, " ")
    .trim()
    .slice(0, mostReason);
}
