import type { Redis } from "ioredis";
import { messageOf, StartError } from "../core/errors.ts";
import type { Service } from "../runtime/service.ts";

export interface ChangeFeedListener {
  /** What was published: the name of a queue whose state may have changed, or any text, from any program that can publish there. */
  onChange(text: string): void;
  /** Every change from now on will be received; those of before may have been missed. Also called at the start. */
  onConnected(): void;
  /** Changes are not received any more, until `onConnected`. */
  onDisconnected(): void;
}

/** Receives what any process publishes on one channel. */
export interface ChangeFeed extends Service {
  readonly isConnected: boolean;
  /** Before the start. */
  listen(listener: ChangeFeedListener): void;
}

export interface ChangeFeedOptions {
  /**
   * A connection for feeds alone, with `autoResubscribe` off: a fresh snapshot must follow the subscription, not precede it. Its
   * `error` event has, and the log says, why it is given up.
   */
  readonly redis: Redis;
  readonly channel: string;
  /** How often it is checked that changes are still received over it. @default 1_000 // 1 second */
  readonly pingEveryMs?: number;
}

export function createChangeFeed({ redis, channel, pingEveryMs = 1_000 }: ChangeFeedOptions): ChangeFeed {
  const listeners: ChangeFeedListener[] = [];
  let isConnected = false;
  let isAsking = false;
  let ping: NodeJS.Timeout | undefined;

  async function subscribe(): Promise<void> {
    await redis.subscribe(channel);
    await assertSubscribed();
    isConnected = true;
    for (const listener of listeners) listener.onConnected();
  }

  /**
   * A replica passes on what is published at its master, and says nothing when it has lost it.
   *
   * @throws Error also when no answer comes: the other end has vanished without a word.
   */
  async function assertSubscribed(): Promise<void> {
    const role = await redis.info("replication").catch((error: Error) => {
      // A user that may not ask has been answered all the same.
      if (error.name === "ReplyError") return "";
      throw error;
    });
    if (/^master_link_status:down/m.test(role)) throw new Error("a replica has lost its master");
  }

  /** A connection that cannot be used is thrown away: ioredis opens the next one, and that subscribes again. */
  function reconnect(error: Error): void {
    onClose();
    redis.emit("error", error);
    redis.disconnect(true);
  }

  function onMessage(on: string, text: string): void {
    if (on !== channel) return;
    for (const listener of listeners) listener.onChange(text);
  }

  function onReady(): void {
    subscribe().catch(reconnect);
  }

  function onClose(): void {
    if (!isConnected) return;
    isConnected = false;
    for (const listener of listeners) listener.onDisconnected();
  }

  return {
    get isConnected() {
      return isConnected;
    },
    listen(added) {
      listeners.push(added);
    },
    async start() {
      redis.on("message", onMessage);
      redis.on("close", onClose);
      await subscribe().catch((error: unknown) => {
        const expected = "Redis does not let us subscribe to changes";
        throw new StartError(`${expected}: ${messageOf(error)}.`, { cause: error });
      });
      redis.on("ready", onReady);
      ping = setInterval(() => {
        if (!isConnected || isAsking) return;
        isAsking = true;
        assertSubscribed()
          // Once it is closed all that was asked over it fails, which is no news.
          .catch((error: Error) => isConnected && reconnect(error))
          .finally(() => {
            isAsking = false;
          });
      }, pingEveryMs);
      ping.unref();
    },
    async stop() {
      clearInterval(ping);
      redis.off("ready", onReady);
      redis.off("close", onClose);
      redis.off("message", onMessage);
    },
  };
}
