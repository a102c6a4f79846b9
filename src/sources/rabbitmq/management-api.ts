import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from "node:http";
import { Agent as HttpsAgent, request as requestHttps } from "node:https";
import type { RabbitmqAddress } from "../../settings/rabbitmq-url.ts";

/** What the management API says of one queue. */
export interface RabbitmqQueue {
  readonly vhost: string;
  readonly name: string;
  readonly type?: string;
  readonly state?: string;
  readonly arguments?: Readonly<Record<string, unknown>>;
  readonly effective_policy_definition?: Readonly<Record<string, unknown>>;
  /** Absent until the queue has sent its first statistics. */
  readonly messages_ready?: number;
  readonly messages_unacknowledged?: number;
  /** In seconds since the epoch; "" or absent when the head has none. */
  readonly head_message_timestamp?: number | string | null;
  readonly message_stats?: {
    readonly publish?: number;
    readonly deliver_get?: number;
    readonly redeliver?: number;
  };
}

export interface QueuePage {
  readonly queues: readonly RabbitmqQueue[];
  readonly pageCount: number;
  /** The broker's own time, of whole seconds, rounded down; null when it does not report it. */
  readonly brokerNowMs: number | null;
}

export interface QueuePageRequest {
  /** From 1 on. */
  readonly page: number;
  readonly pageSize: number;
}

export interface ManagementApi {
  /**
   * One page of queues; of one virtual host, or of all that the user may see.
   *
   * @throws Error with what went wrong; it holds no password.
   */
  queues(vhost: string | null, page: QueuePageRequest, signal: AbortSignal): Promise<QueuePage>;
  /** What of the broker's settings keeps it from counting messages, and how to change it; null when nothing does. */
  whyUncounted(signal: AbortSignal): Promise<string | null>;
  close(): void;
}

const maxAnswerBytes = 8_000_000;
const columns = [
  ...["vhost", "name", "type", "state", "arguments", "messages_ready", "messages_unacknowledged"],
  ...[
    "effective_policy_definition",
    "head_message_timestamp",
    "message_stats.publish",
    "message_stats.deliver_get",
    "message_stats.redeliver",
  ],
].join();

/** Asks RabbitMQ's management plugin over one connection that is kept open. */
export function createManagementApi(address: RabbitmqAddress): ManagementApi {
  const { isTls, host, port, username, password, path, tls } = address;
  const agent = isTls
    ? new HttpsAgent({ keepAlive: true, maxSockets: 1, ...tls })
    : new HttpAgent({ keepAlive: true, maxSockets: 1 });

  function get(target: string, signal: AbortSignal): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const options = { agent, host, port, path: target, auth: `${username}:${password}`, signal };
    const sent = (isTls ? requestHttps : requestHttp)(options);
    sent.on("response", resolve).on("error", reject).end();
    return promise;
  }

  async function ask<T>(target: string, signal: AbortSignal) {
    const response = await get(`${path}/api/${target}`, signal);
    const text = await textOf(response);
    const status = response.statusCode ?? 0;
    const answer = (status === 200 ? objectIn(text) : {}) as Partial<T>;
    return { status, answer, date: Date.parse(response.headers.date ?? "") };
  }

  return {
    async queues(vhost, { page, pageSize }, signal) {
      const where = vhost === null ? "" : `/${encodeURIComponent(vhost)}`;
      const query = `page=${page}&page_size=${pageSize}&columns=${columns}`;
      const { status, answer, date } = await ask<RawPage>(`queues${where}?${query}`, signal);
      if (status !== 200) throw new Error(refusal(status, vhost));
      const { items, page_count: pageCount = 1 } = answer;
      if (!Array.isArray(items) || !items.every(isQueue) || !Number.isSafeInteger(pageCount))
        throw new Error(`expected a page of queues; ${isItRabbitmq}`);
      return { queues: items.map(counted), pageCount, brokerNowMs: Number.isNaN(date) ? null : date };
    },
    async whyUncounted(signal) {
      // Not every user may ask for it, and not every proxy passes it on: then the settings are taken for the usual ones.
      const { answer: overview } = await ask<RawOverview>(
        "overview?columns=disable_stats,rates_mode,node",
        signal,
      );
      if (overview.disable_stats === true)
        return "its statistics are off: remove management.disable_stats and management_agent.disable_metrics_collector from its configuration";
      // Each node of a cluster has its own: messages are counted where a channel publishes or takes them.
      const { answer: nodes } = await ask<readonly RawNode[]>("nodes?columns=name,rates_mode", signal);
      // A node that has just started says so of itself at once, and in the list of all nodes some seconds later.
      const asked: RawNode = { name: String(overview.node), rates_mode: overview.rates_mode };
      const off = [asked, ...Object.values(nodes)].find((node) => node?.rates_mode === "none");
      if (off !== undefined) return `management.rates_mode of its node ${off.name} is none: set it to basic`;
      return null;
    },
    close: () => agent.destroy(),
  };
}

interface RawPage {
  readonly items: readonly RabbitmqQueue[];
  readonly page_count: number;
}

interface RawOverview {
  readonly disable_stats: boolean;
  /** Of the node that was asked. */
  readonly rates_mode: string;
  readonly node: string;
}

interface RawNode {
  readonly name: string;
  readonly rates_mode?: string | undefined;
}

const isItRabbitmq = "is this RabbitMQ's management API, or does something else answer in its place?";

function objectIn(text: string): object {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value;
  } catch {
    // As the page of a proxy's login is.
  }
  throw new Error(`expected an object in JSON; ${isItRabbitmq}`);
}

function isQueue(value: unknown): boolean {
  const { vhost, name } = Object(value) as Record<string, unknown>;
  return typeof vhost === "string" && typeof name === "string";
}

/** A count that is no number of messages is left out: then nothing is known of the queue. */
function counted(queue: RabbitmqQueue): RabbitmqQueue {
  const {
    messages_ready: ready,
    messages_unacknowledged: unacknowledged,
    message_stats: stats,
    ...rest
  } = queue;
  return {
    ...rest,
    ...(isCount(ready) ? { messages_ready: ready } : {}),
    ...(isCount(unacknowledged) ? { messages_unacknowledged: unacknowledged } : {}),
    ...(stats !== undefined && Object.values(Object(stats)).every(isCount) ? { message_stats: stats } : {}),
  };
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function refusal(status: number, vhost: string | null): string {
  if (status === 401)
    return "401: the user is unknown, its password is wrong, or it lacks the tag monitoring";
  if (status === 404)
    return vhost === null ? "404: there is no management API here" : `404: there is no virtual host ${vhost}`;
  if (status === 403) return "403: the user may not use the management API: give it the tag monitoring";
  if (status >= 300 && status < 400) return `${status}: it redirects to another address; ${isItRabbitmq}`;
  return `RabbitMQ answered ${status}`;
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxAnswerBytes) throw new Error(`the answer has more than ${maxAnswerBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
