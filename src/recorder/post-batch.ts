import { type Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";

/** What one attempt to send a batch led to. */
export type Outcome =
  | { readonly kind: "RECORDED"; readonly rejected: readonly RejectedEvent[] }
  /** The server may or may not have recorded it: the same batch is to be sent again. */
  | { readonly kind: "RETRY"; readonly reason: string; readonly retryAfterMs: number }
  /** Nothing of it was recorded, and nothing would be. */
  | {
      readonly kind: "REFUSED";
      readonly code: string;
      readonly reason: string;
      readonly newQueues: readonly string[];
    };

export interface RejectedEvent {
  readonly eventIndex: number;
  readonly field: string | null;
  readonly reason: string;
}

export interface PostOptions {
  readonly url: URL;
  readonly token: string | null;
  readonly agent: Agent;
  readonly timeoutMs: number;
}

const query =
  "mutation Record($events: [QueueEventInput!]!, $batchId: ID) { recordEvents(events: $events, batchId: $batchId, onInvalid: SKIP) { rejected { eventIndex field reason } } }";
const bodyStart = `{"query":${JSON.stringify(query)},"variables":{"batchId":`;

/** The body of one batch. */
export function batchBody(batchId: string, events: readonly { readonly json: string }[]): string {
  return `${bodyStart}${JSON.stringify(batchId)},"events":[${events.map(({ json }) => json).join(",")}]}}`;
}

/** Sends one batch once. Never rejects. */
export async function postBatch(body: string, options: PostOptions, signal: AbortSignal): Promise<Outcome> {
  try {
    const { status, headers, text } = await post(body, options, signal);
    return outcomeOf(status, text, retryAfterMs(headers["retry-after"]));
  } catch (error) {
    return { kind: "RETRY", reason: error instanceof Error ? error.message : String(error), retryAfterMs: 0 };
  }
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

/** More is not read: of 1,000 events that are all invalid the server says less. */
const maxAnswerBytes = 4_000_000;

function post(
  body: string,
  { url, token, agent, timeoutMs }: PostOptions,
  signal: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const send = url.protocol === "https:" ? httpsRequest : httpRequest;
    const request = send(url, {
      method: "POST",
      agent,
      signal,
      headers: {
        accept: "application/graphql-response+json",
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      },
    });
    const late = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    request.once("close", () => clearTimeout(late));
    request.on("error", reject);
    request.once("response", (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      response.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes <= maxAnswerBytes) chunks.push(chunk);
        else request.destroy(new Error(`an answer of more than ${maxAnswerBytes} bytes`));
      });
      response.on("error", reject);
      response.once("end", () => {
        const text = Buffer.concat(chunks).toString();
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
      });
      // The connection broke in the middle of the answer.
      response.once("close", () => reject(new Error("the answer was cut off")));
    });
    request.end(body);
  });
}

interface GraphQLAnswer {
  readonly data?: { readonly recordEvents?: { readonly rejected: readonly RejectedEvent[] } | null } | null;
  readonly errors?: readonly GraphQLProblem[];
}

interface GraphQLProblem {
  readonly message: string;
  readonly extensions?: { readonly code?: string; readonly newQueues?: readonly string[] };
}

/** A token that is unknown now may be in the server's file a minute later. */
const transient = new Set([
  "UNAUTHENTICATED",
  "FORBIDDEN",
  "THROTTLED",
  "SERVICE_UNAVAILABLE",
  "INTERNAL_SERVER_ERROR",
]);

function outcomeOf(status: number, text: string, afterMs: number): Outcome {
  const answer = parsed(text);
  const recorded = answer?.data?.recordEvents;
  if (recorded != null) return { kind: "RECORDED", rejected: recorded.rejected };
  const problem = answer?.errors?.[0];
  const code = problem?.extensions?.code ?? "";
  const reason = problem?.message ?? `the server answered ${status}, and no GraphQL`;
  // What is no GraphQL comes from a proxy, whose server may be starting.
  if (problem === undefined || status >= 500 || status === 429 || transient.has(code))
    return { kind: "RETRY", reason, retryAfterMs: afterMs };
  return { kind: "REFUSED", code, reason, newQueues: problem.extensions?.newQueues ?? [] };
}

function parsed(text: string): GraphQLAnswer | null {
  try {
    return JSON.parse(text) as GraphQLAnswer | null;
  } catch {
    return null;
  }
}

/** Seconds, or a date. */
function retryAfterMs(header: string | undefined): number {
  if (header === undefined) return 0;
  const ms = /^\d+$/.test(header) ? 1_000 * Number(header) : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}
