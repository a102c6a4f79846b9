import { fits, fullBucket, type Rate, refilled } from "../core/token-bucket.ts";
import { monotonicClock } from "../runtime/clock.ts";

/** While something is pushed, pings are only needed to notice that the client has vanished: every fifth is sent. */
const pingsWhilePushed = 5;
/** Pings and pongs that a client may send. */
const maxPings: Rate = { max: 100, windowMs: 10_000 };

/** Whether the client of one WebSocket is there, and how many pings it may send. */
export class WebSocketLiveness {
  #isAlive = true;
  #unsent = 0;
  #pings = fullBucket;

  /** The client has sent something. */
  received(): void {
    this.#isAlive = true;
  }

  /** Counts a ping or a pong of the client. @returns false when it has sent too many. */
  take(): boolean {
    const pings = refilled(this.#pings, maxPings, monotonicClock.now());
    if (!fits(pings, maxPings, 1)) return false;
    this.#pings = { ...pings, used: pings.used + 1 };
    return true;
  }

  /** What a heartbeat asks for: a ping, nothing, or the end of a socket that has not answered the last ping. */
  next(hasPushed: boolean): "ping" | "none" | "cut" {
    if (!this.#isAlive) return "cut";
    this.#unsent += 1;
    if (hasPushed && this.#unsent < pingsWhilePushed) return "none";
    this.#unsent = 0;
    this.#isAlive = false;
    return "ping";
  }
}
