import { monotonicClock } from "../runtime/clock.ts";
import { createTimeSlices } from "../runtime/time-slices.ts";
import type { EncodedResult } from "./encoded-result.ts";
import type { Subscriber } from "./subscriber.ts";

/** A member of a group, as far as pushes are written to it. */
export interface Receiver {
  readonly subscriber: Subscriber;
  /** What it begins with, until it has been written. */
  initial: readonly EncodedResult[];
  /** How much of that has been written. */
  begun: number;
  /** The number of the last push that it has seen. */
  seen: number;
  /** It may not be written to earlier. */
  notBeforeMs: number;
}

/** What members that have seen the same pushes are to be written. */
export interface Payload {
  /** Null: nothing. */
  readonly result: EncodedResult | null;
  /** Of the last push that a member has seen with it. */
  readonly number: number;
  /** It is a push of its own, for members that have missed some: the interval begins anew. */
  readonly isOwn: boolean;
}

export interface PushDeliveryOptions<Member> {
  /** Two pushes to one member are at least this far apart. */
  readonly minIntervalMs: () => number;
  /** Makes what members are written that have missed what this one has. @returns null when the group has ended. */
  readonly catchUp: (member: Member) => Promise<Payload | null>;
}

/** Writes the pushes of a group to each of its members as soon as it is ready for them. */
export interface PushDelivery<Member extends Receiver> {
  readonly members: Set<Member>;
  /** Of the last push. */
  readonly number: number;
  isAnyReady(): boolean;
  /** Writes a push to all members. Resolves when those that are ready have it. */
  push(result: EncodedResult): Promise<void>;
  /** Writes what it has not seen to a member, if it is ready. */
  serve(member: Member): void;
  stop(): void;
}

const none: readonly EncodedResult[] = [];
/** Making and writing the pushes of very many takes turns with other work. */
export const pushSlices = createTimeSlices(4);
/** Members that are written to before the time is looked at. */
const membersPerTurn = 16;
/** Members that were pushed to out of turn are pushed to together again at multiples of this, or of the interval if that is less. */
const maxStepMs = 250;

export function createPushDelivery<Member extends Receiver>({
  minIntervalMs,
  catchUp,
}: PushDeliveryOptions<Member>): PushDelivery<Member> {
  const members = new Set<Member>();
  /** By the number of the last push that members have seen. */
  const payloads = new Map<number, Payload>();
  /** The keys of those that are being made. */
  const pending = new Set<number>();
  let number = 0;
  let isDelivering = false;
  let isAgain = false;
  let timer: NodeJS.Timeout | undefined;
  let timerAtMs = Number.POSITIVE_INFINITY;

  /** A push that comes while the one before is still written is written, together with that, to those who have neither. */
  async function deliver(): Promise<void> {
    isAgain = true;
    if (isDelivering) return;
    isDelivering = true;
    while (isAgain) {
      isAgain = false;
      let served = 0;
      for (const member of members) {
        if (served++ % membersPerTurn === 0 && !pushSlices.has()) await pushSlices.next();
        serve(member);
      }
    }
    isDelivering = false;
    payloads.clear();
  }

  function serve(member: Member): void {
    const { initial, seen, notBeforeMs, subscriber } = member;
    if (initial.length > 0) {
      begin(member);
      return;
    }
    if (seen >= number || !subscriber.isReady()) return;
    if (notBeforeMs > 0 && monotonicClock.now() < notBeforeMs) {
      deliverAt(notBeforeMs);
      return;
    }
    const payload = payloads.get(seen);
    if (payload !== undefined) write(member, payload);
    else if (!pending.has(seen)) void makePayload(member);
  }

  /** Writes what a member begins with, as fast as it reads. */
  function begin(member: Member): void {
    const { subscriber } = member;
    while (subscriber.isReady()) {
      const result = member.initial[member.begun];
      if (result === undefined) {
        member.initial = none;
        serve(member);
        return;
      }
      member.begun += 1;
      member.notBeforeMs = nextStepMs();
      subscriber.write(result);
    }
  }

  function write(member: Member, { result, number: seen, isOwn }: Payload): void {
    member.seen = seen;
    if (result !== null) member.subscriber.write(result);
    if (!isOwn) return;
    member.notBeforeMs = nextStepMs();
    // There may have been another push while this one was made.
    serve(member);
  }

  async function makePayload(member: Member): Promise<void> {
    const { seen } = member;
    pending.add(seen);
    const payload = await catchUp(member);
    pending.delete(seen);
    if (payload === null) return;
    payloads.set(seen, payload);
    await deliver();
  }

  function nextStepMs(): number {
    const intervalMs = minIntervalMs();
    if (intervalMs === 0) return 0;
    const stepMs = Math.min(intervalMs, maxStepMs);
    return Math.ceil((monotonicClock.now() + intervalMs) / stepMs) * stepMs;
  }

  function deliverAt(atMs: number): void {
    if (timerAtMs <= atMs) return;
    clearTimeout(timer);
    timerAtMs = atMs;
    timer = setTimeout(
      () => {
        timerAtMs = Number.POSITIVE_INFINITY;
        void deliver();
      },
      Math.ceil(atMs - monotonicClock.now()),
    );
  }

  return {
    members,
    get number() {
      return number;
    },
    isAnyReady() {
      for (const { subscriber } of members) if (subscriber.isReady()) return true;
      return false;
    },
    push(result) {
      payloads.clear();
      payloads.set(number, { result, number: number + 1, isOwn: false });
      number += 1;
      return deliver();
    },
    serve,
    stop: () => clearTimeout(timer),
  };
}
