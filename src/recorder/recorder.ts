import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import { type DeliveryOptions, deliver } from "./delivery.ts";
import { createDropWarning, type Drop } from "./drop-warning.ts";
import { type BatchBounds, createEventBuffer } from "./event-buffer.ts";
import {
  type EnqueuedDetails,
  type EventDetails,
  type EventType,
  eventJson,
  type JobId,
} from "./event-json.ts";
import { closeAtExit } from "./exit-hooks.ts";
import { type PostOptions, postBatch } from "./post-batch.ts";

export interface RecorderOptions {
  /** Of the server, such as `http://127.0.0.1:4000`; `/graphql` is added where there is no path. */
  readonly url: string | URL;
  /** With the scope `record`; null: the server has no tokens. @default null */
  readonly token?: string | null;
  /** After how long an event is sent at the latest, while the server answers, in ms. @default 200 */
  readonly flushIntervalMs?: number;
  /** Events in one batch: at most the server's MAX_EVENTS. @default 1_000 */
  readonly maxBatchEvents?: number;
  /** Batches that are sent at once. @default 4 */
  readonly maxBatches?: number;
  /** Events that wait to be sent; more are dropped. @default 100_000 */
  readonly maxBufferedEvents?: number;
  /** The memory that they may take, in bytes. @default 32_000_000 // 32 MB */
  readonly maxBufferedBytes?: number;
  /** How long one request may take, in ms. @default 10_000 // 10 seconds */
  readonly requestTimeoutMs?: number;
  /** A batch is dropped so long after its first attempt, in ms: less than the server's EVENT_WINDOW. @default 240_000 // 4 minutes */
  readonly giveUpAfterMs?: number;
  /** How long `close` sends what is left, in ms; also at the end of the process. @default 5_000 // 5 seconds */
  readonly closeTimeoutMs?: number;
  /** Whether to close at SIGTERM, SIGINT, and when the process has nothing else to do. @default true */
  readonly closeAtExit?: boolean;
  /** Called when events are dropped. @default a warning of the process, once a minute at most */
  readonly onDrop?: (drop: Drop) => void;
}

export interface RecorderStats {
  /** Events that the server has acknowledged. */
  readonly recorded: number;
  /** Events that were invalid, refused or given up, or for which there was no place. */
  readonly dropped: number;
  /** Events that are not acknowledged yet. */
  readonly pending: number;
}

/** A job that a worker runs. */
export interface RecordedJob extends EventDetails {
  readonly queue: string;
  readonly jobId: JobId;
}

/** No method throws, and none but `flush` and `close` waits for anything. */
export interface Recorder {
  /** A job entered the queue. */
  enqueued(queue: string, jobId: JobId, details?: EnqueuedDetails): void;
  /** A worker took the job. */
  dequeued(queue: string, jobId: JobId, details?: EventDetails): void;
  /** The job left the queue without a worker. */
  removed(queue: string, jobId: JobId, details?: EventDetails): void;
  /** The handler of a worker, which records each job as dequeued before it runs it. `jobOf` finds the job in the arguments. */
  wrap<A extends readonly unknown[], R>(
    handler: (...args: A) => R,
    jobOf: (...args: A) => RecordedJob,
  ): (...args: A) => R;
  stats(): RecorderStats;
  /** Sends what there is, and resolves when no event is pending. */
  flush(): Promise<void>;
  /** Sends what is left, for `closeTimeoutMs` at most; events that come later are dropped. */
  close(): Promise<RecorderStats>;
}

interface Pause {
  readonly timeout: NodeJS.Timeout;
  /** By the server's Retry-After. */
  readonly isDemanded: boolean;
  readonly end: () => void;
}

/** Bytes of one batch: a server with the default limits takes twice as much. */
const maxBatchBytes = 500_000;
/** Queues in one batch: each costs a point, of which a request has 500, and as much as ten events of RECORD_RATE_LIMIT. */
const maxBatchQueues = 100;

/**
 * Records what happens to jobs, in batches, for a producer or a worker on Node.js. The server counts each event once, however often a batch
 * is sent.
 *
 * @throws Error when the URL is none.
 */
export function createRecorder(options: RecorderOptions): Recorder {
  const {
    flushIntervalMs = 200,
    maxBatchEvents = 1_000,
    maxBatches = 4,
    maxBufferedEvents = 100_000,
    maxBufferedBytes = 32_000_000,
    requestTimeoutMs = 10_000,
    giveUpAfterMs = 240_000,
    closeTimeoutMs = 5_000,
    onDrop = createDropWarning(),
  } = options;
  const url = endpointOf(options.url);
  const agentOptions = { keepAlive: true, maxSockets: maxBatches };
  const agent = url.protocol === "https:" ? new HttpsAgent(agentOptions) : new HttpAgent(agentOptions);
  const posting: PostOptions = { url, token: options.token ?? null, agent, timeoutMs: requestTimeoutMs };
  const buffer = createEventBuffer({ maxEvents: maxBufferedEvents, maxBytes: maxBufferedBytes });
  const bounds: BatchBounds = { events: maxBatchEvents, queues: maxBatchQueues, bytes: maxBatchBytes };
  const ended = new AbortController();
  const pauses = new Set<Pause>();
  let [recorded, dropped, inFlight, batches] = [0, 0, 0, 0];
  let isClosing = false;
  /** Events wait for a place among the batches, not for more events. */
  let isDue = false;
  let timer: NodeJS.Timeout | null = null;
  let closed: Promise<RecorderStats> | null = null;
  let settled: { promise: Promise<void>; resolve: () => void } | null = null;

  const delivery: DeliveryOptions = {
    post: (body) => postBatch(body, posting, ended.signal),
    bounds,
    giveUpAfterMs,
    pause: (ms, isDemanded) =>
      new Promise((resolve) => {
        const end = () => {
          pauses.delete(pause);
          clearTimeout(timeout);
          resolve();
        };
        const timeout = setTimeout(end, ms);
        const pause = { timeout, isDemanded, end };
        // A process with nothing else to do closes the recorder, and waits for that.
        if (!isClosing) timeout.unref();
        pauses.add(pause);
      }),
    isEnded: () => ended.signal.aborted,
    onRecorded: (events) => {
      recorded += events;
    },
    onDropped: drop,
  };

  function drop(events: number, reason: string): void {
    dropped += events;
    try {
      onDrop({ events, reason });
    } catch {
      // The job goes on.
    }
  }

  /** @returns why it was not taken; null when it was. */
  function take(type: EventType, queue: string, jobId: JobId, details: EnqueuedDetails): string | null {
    if (isClosing) return "the recorder is closed";
    try {
      const json = eventJson(type, queue, jobId, details);
      if (json.length > maxBatchBytes) return "the event is too large";
      return buffer.add({ queue, json }) ? null : "too many events wait to be sent";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  function add(type: EventType, queue: string, jobId: JobId, details: EnqueuedDetails): void {
    const problem = take(type, queue, jobId, details);
    if (problem !== null) drop(1, problem);
    else if (buffer.events >= bounds.events) send(false);
    else timer ??= setTimeout(send, flushIntervalMs, true).unref();
  }

  /** Sends full batches; and what is left, too. */
  function send(isAll: boolean): void {
    if (isAll && timer !== null) {
      clearTimeout(timer);
      timer = null;
    }
    while (batches < maxBatches && buffer.events > 0 && (isAll || buffer.events >= bounds.events)) {
      const batch = buffer.take(bounds);
      batches++;
      inFlight += batch.length;
      void deliver(batch, delivery).then(() => {
        batches--;
        inFlight -= batch.length;
        send(isDue);
        if (batches === 0 && buffer.events === 0) settled?.resolve();
      });
    }
    if (isAll) isDue = buffer.events > 0;
  }

  const stats = (): RecorderStats => ({ recorded, dropped, pending: buffer.events + inFlight });

  async function flush(): Promise<void> {
    send(true);
    if (batches === 0 && buffer.events === 0) return;
    settled ??= Promise.withResolvers<void>();
    await settled.promise;
    settled = null;
  }

  async function close(): Promise<RecorderStats> {
    isClosing = true;
    const late = setTimeout(() => {
      ended.abort();
      for (const { end } of pauses) end();
    }, closeTimeoutMs);
    for (const { timeout, isDemanded, end } of pauses) {
      if (isDemanded) timeout.ref();
      else end();
    }
    await flush();
    clearTimeout(late);
    agent.destroy();
    removeHooks();
    return stats();
  }

  const closeOnce = () => {
    closed ??= close();
    return closed;
  };
  const removeHooks = options.closeAtExit === false ? () => {} : closeAtExit({ flush, close: closeOnce });

  return {
    enqueued: (queue, jobId, details = {}) => add("ENQUEUED", queue, jobId, details),
    dequeued: (queue, jobId, details = {}) => add("DEQUEUED", queue, jobId, details),
    removed: (queue, jobId, details = {}) => add("REMOVED", queue, jobId, details),
    wrap(handler, jobOf) {
      return function (this: unknown, ...args) {
        try {
          const { queue, jobId, ...details } = jobOf(...args);
          add("DEQUEUED", queue, jobId, details);
        } catch (error) {
          drop(1, error instanceof Error ? error.message : String(error));
        }
        return handler.apply(this, args as never);
      };
    },
    stats,
    flush,
    close: closeOnce,
  };
}

/** @throws Error when it is no URL of a server. */
function endpointOf(given: string | URL): URL {
  const url = new URL(given);
  if (!/^https?:$/.test(url.protocol))
    throw new Error(`expected a URL such as http://127.0.0.1:4000, got ${given}`);
  if (url.pathname === "/") url.pathname = "/graphql";
  return url;
}
