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

export interface ManagementApi {
  /**
   * One page of queues, from 1 on; of one virtual host, or of all that the user may see.
   *
   * @throws Error with what went wrong; it holds no password.
   */
  queues(vhost: string | null, page: number, signal: AbortSignal): Promise<QueuePage>;
  close(): void;
}

const pageSize = 500;
const maxAnswerBytes = 8_000_000;
const columns = [
  ...["vhost", "name", "type", "state", "arguments", "messages_ready", "messages_unacknowledged"],
  ...[
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

  return {
    async queues(vhost, page, signal) {
      const where = vhost === null ? "" : `/${encodeURIComponent(vhost)}`;
      const query = `page=${page}&page_size=${pageSize}&columns=${columns}`;
      const response = await get(`${path}/api/queues${where}?${query}`, signal);
      const text = await textOf(response);
      if (response.statusCode !== 200) throw new Error(refusal(response.statusCode ?? 0, vhost));
      const { items, page_count: pageCount } = JSON.parse(text) as {
        items?: readonly RabbitmqQueue[];
        page_count?: number;
      };
      if (!Array.isArray(items))
        throw new Error("expected a page of queues; is this RabbitMQ's management API?");
      const date = Date.parse(response.headers.date ?? "");
      return { queues: items, pageCount: pageCount ?? 1, brokerNowMs: Number.isNaN(date) ? null : date };
    },
    close: () => agent.destroy(),
  };
}

function refusal(status: number, vhost: string | null): string {
  if (status === 401)
    return "401: the user is unknown, its password is wrong, or it lacks the tag monitoring";
  if (status === 404)
    return vhost === null ? "404: there is no management API here" : `404: there is no virtual host ${vhost}`;
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
