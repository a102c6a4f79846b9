import type { Redis } from "ioredis";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { Service } from "../core/service.ts";

export interface ChangeFeedListener {
  /** The state of this queue may have changed. May be any text: whoever can publish on the channel can send it. */
  onChange(queue: string): void;
  /** Every change from now on will be heard; those of before may have been missed. Also called at the start. */
  onConnected(): void;
  /** Changes are not heard any more, until `onConnected`. */
  onDisconnected(): void;
}

/** Tells which queues changed, whichever process changed them. */
export interface ChangeFeed extends Service {
  readonly isConnected: boolean;
  /** There is one listener; it is set before the start. */
  listen(listener: ChangeFeedListener): void;
}

export interface ChangeFeedOptions {
  /** A connection of its own with `autoResubscribe` off: a fresh snapshot must follow the subscription, not precede it. */
  readonly redis: Redis;
  readonly channel: string;
  readonly logger: Logger;
  /** How often a silent connection is asked whether it lives. @default 5_000 // 5 seconds */
  readonly pingEveryMs?: number;
}

export function createChangeFeed({
  redis,
  channel,
  logger,
  pingEveryMs = 5_000,
}: ChangeFeedOptions): ChangeFeed {
  let listener: ChangeFeedListener | undefined;
  let isConnected = false;
  let ping: NodeJS.Timeout | undefined;

  async function subscribe(): Promise<void> {
    await redis.subscribe(channel);
    isConnected = true;
    listener?.onConnected();
  }

  /** A connection that cannot be used is thrown away: ioredis opens the next one, and that subscribes again. */
  function reconnect(error: unknown): void {
    logger.warn({ err: messageOf(error) }, "the change feed broke; connecting again");
    redis.disconnect(true);
  }

  function onReady(): void {
    subscribe().catch(reconnect);
  }

  function onClose(): void {
    if (!isConnected) return;
    isConnected = false;
    listener?.onDisconnected();
  }

  return {
    get isConnected() {
      return isConnected;
    },
    listen(added) {
      listener = added;
    },
    async start() {
      redis.on("message", (_channel: string, queue: string) => listener?.onChange(queue));
      redis.on("close", onClose);
      await subscribe();
      redis.on("ready", onReady);
      // A connection whose other end vanished without a word never closes by itself.
      ping = setInterval(() => {
        if (isConnected) redis.ping().catch(reconnect);
      }, pingEveryMs);
      ping.unref();
    },
    async stop() {
      clearInterval(ping);
      redis.off("ready", onReady);
      redis.off("close", onClose);
      redis.removeAllListeners("message");
    },
  };
}
