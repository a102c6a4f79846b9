import type { GraphQLError } from "graphql";
import { beginInFirst, type CpuShare } from "../core/cpu-share.ts";
import type { PushSource } from "../core/push-source.ts";
import { monotonicClock } from "../runtime/clock.ts";
import { createTimeSlices } from "../runtime/time-slices.ts";
import type { EncodedResult } from "./encoded-result.ts";
import type { FairScheduler } from "./fair-scheduler.ts";

/** A transport's end of a subscription. */
export interface Subscriber {
  /**
   * Whether all that was written has left for the socket, so that a push would leave at once. If not, the transport calls
   * `drained` of the subscription as soon as it has.
   */
  isReady(): boolean;
  write(result: EncodedResult): void;
  /** The subscription is over: null, or the error for which it was ended. */
  end(error: GraphQLError | null): void;
}

/** A client's part in a group. */
export interface Subscription {
  /** Begins to write to the subscriber, once. */
  begin(subscriber: Subscriber): void;
  /** The subscriber, which was not ready, is ready now. */
  drained(): void;
  /** The client leaves, or its connection is gone. Nothing more is written. */
  leave(): void;
  /** Ends it with an error for the subscriber. */
  fail(error: GraphQLError): void;
}

/** Why a subscription cannot be opened. */
export interface Refusal {
  readonly errors: readonly GraphQLError[];
}

export interface SubscriptionGroupOptions {
  /** Opens the source of the group's pushes. */
  readonly open: (share: CpuShare) => Promise<PushSource<unknown> | Refusal>;
  /** Executes and encodes a push, on the account of a client. Never rejects. */
  readonly run: (push: unknown, share: CpuShare, client: string) => Promise<EncodedResult>;
  readonly maskError: (error: unknown) => GraphQLError;
  readonly scheduler: FairScheduler;
  /** No subscription can join any more. */
  readonly onClose: () => void;
}

/** Identical subscriptions. Each push is executed and encoded once, and written to each member that is ready for it. */
export interface SubscriptionGroup {
  /**
   * @param onLeave is called once, when the subscription ends, however it ends.
   * @throws what the source throws for a member that joins.
   */
  join(client: string, onLeave: () => void): Promise<Subscription | Refusal>;
}

interface Member {
  readonly client: string;
  readonly subscriber: Subscriber;
  readonly leave: () => void;
  /** What it begins with, until it has been written. */
  initial: readonly EncodedResult[];
  /** How much of that has been written. */
  begun: number;
  /** The number of the last push that it has seen. */
  seen: number;
  /** It may not be written to earlier. */
  notBeforeMs: number;
}

/** What members begin with that join later than others. */
interface State {
  readonly results: readonly EncodedResult[];
  /** Of the last push that a member has seen with these. */
  readonly number: number;
}

/** What members that have seen the same pushes are to be written. */
interface Payload {
  /** Null: nothing. */
  readonly result: EncodedResult | null;
  /** Of the last push that a member has seen with it. */
  readonly number: number;
  /** It is a push of its own, for members that have missed some: the interval begins anew. */
  readonly isOwn: boolean;
}

const none: readonly EncodedResult[] = [];
const nothing: State = { results: none, number: 0 };
/** Writing to very many takes turns with other work. */
const slices = createTimeSlices(4);
/** Members that are written to before the time is looked at. */
const membersPerTurn = 16;
/** Members that were pushed to out of turn are pushed to together again at multiples of this, or of the interval if that is less. */
const maxStepMs = 250;

export function createSubscriptionGroup(options: SubscriptionGroupOptions): SubscriptionGroup {
  const { open, run, maskError, scheduler, onClose } = options;
  const members = new Set<Member>();
  /** By the number of the last push that members have seen. */
  const payloads = new Map<number, Payload>();
  /** The keys of those that are being made. */
  const pending = new Set<number>();
  let opening: ReturnType<typeof open> | undefined;
  /** The client of the first member. */
  let opener = "";
  let source: PushSource<unknown> | undefined;
  /** Of the last push that was executed. */
  let number = 0;
  /** Members, and those that are about to be. */
  let users = 0;
  let reading: Promise<unknown> = Promise.resolve();
  let nextReading: Promise<State> | undefined;
  let isPulling = false;
  let isDelivering = false;
  let isAgain = false;
  let ending: { readonly error: GraphQLError | null } | null = null;
  let timer: NodeJS.Timeout | undefined;
  let timerAtMs = Number.POSITIVE_INFINITY;

  /** Of all members: a client that has used its share must not make the others of its group wait. */
  const share: CpuShare = {
    begin: (work) => beginInFirst(members.size === 0 ? [shareOf(opener)] : shares(), work),
  };

  function shareOf(client: string): CpuShare {
    return { begin: (work) => scheduler.begin(client, work) };
  }

  function* shares(): Iterable<CpuShare> {
    const clients = new Set<string>();
    for (const { client } of members) {
      if (clients.has(client)) continue;
      clients.add(client);
      yield shareOf(client);
    }
  }

  function chargedClient(): string {
    const [first] = members;
    return first?.client ?? opener;
  }

  function isAnyReady(): boolean {
    for (const { subscriber } of members) if (subscriber.isReady()) return true;
    return false;
  }

  /** Takes pushes while any member is ready: when none is, the next push has the newest state of all that changes meanwhile. */
  async function pull(): Promise<void> {
    if (isPulling || source === undefined) return;
    isPulling = true;
    try {
      while (ending === null && isAnyReady()) {
        if (!slices.has()) await slices.next();
        const { done, value } = await share.begin(source.next);
        if (done === true) return finish(null);
        const result = await run(value, share, chargedClient());
        payloads.clear();
        payloads.set(number, { result, number: number + 1, isOwn: false });
        number += 1;
        const delivered = deliver();
        // A source without an interval may have very many at once: each is written before the next is taken.
        if (source.minIntervalMs === 0) await delivered;
      }
    } catch (error) {
      finish(maskError(error));
    } finally {
      isPulling = false;
    }
  }

  /** A push that comes while the one before is still written is written, together with that, to those who have neither. */
  async function deliver(): Promise<void> {
    isAgain = true;
    if (isDelivering) return;
    isDelivering = true;
    while (isAgain) {
      isAgain = false;
      let served = 0;
      for (const member of members) {
        if (served++ % membersPerTurn === 0 && !slices.has()) await slices.next();
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
    else if (!pending.has(seen)) void catchUp(member);
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

  function nextStepMs(): number {
    const intervalMs = source?.minIntervalMs ?? 0;
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

  /** Makes what members that have missed some pushes are written. */
  async function catchUp({ client, seen }: Member): Promise<void> {
    if (source === undefined) return;
    pending.add(seen);
    try {
      const newer = await source.since(seen);
      const result = newer.push === null ? null : await run(newer.push, share, client);
      payloads.set(seen, { result, number: newer.number, isOwn: true });
    } catch (error) {
      finish(maskError(error));
    }
    pending.delete(seen);
    await deliver();
  }

  /** Members that join while the state is read share the next reading. */
  function readState(from: PushSource<unknown>, client: string): Promise<State> {
    nextReading ??= reading.then(() => {
      nextReading = undefined;
      const state = readOnce(from, client);
      reading = state.catch(() => {});
      return state;
    });
    return nextReading;
  }

  async function readOnce({ join }: PushSource<unknown>, client: string): Promise<State> {
    const { pushes, number: upTo } = await shareOf(client).begin(join);
    const results: EncodedResult[] = [];
    for (const push of pushes) {
      if (!slices.has()) await slices.next();
      results.push(await run(push, share, client));
    }
    return { results, number: upTo };
  }

  function finish(error: GraphQLError | null): void {
    if (ending !== null) return;
    ending = { error };
    clearTimeout(timer);
    onClose();
    for (const { subscriber, leave } of [...members]) {
      leave();
      subscriber.end(error);
    }
    void source?.return();
  }

  async function openSource(client: string): Promise<Refusal | null> {
    if (opening === undefined) {
      opener = client;
      opening = shareOf(client).begin(() => open(share));
    }
    try {
      const opened = await opening;
      if (!("since" in opened)) {
        finish(null);
        return opened;
      }
      source = opened;
      return null;
    } catch (error) {
      finish(null);
      throw error;
    }
  }

  return {
    async join(client, onLeave) {
      users += 1;
      let member: Member | undefined;
      let isOver = false;
      let failure: { readonly error: GraphQLError | null } | null = null;
      const leave = () => {
        if (isOver) return;
        isOver = true;
        users -= 1;
        if (member !== undefined) members.delete(member);
        if (users === 0) finish(null);
        onLeave();
      };
      let state = nothing;
      try {
        const refusal = await openSource(client);
        if (refusal !== null) {
          leave();
          return refusal;
        }
        if (number > 0 && source !== undefined) state = await readState(source, client);
      } catch (error) {
        leave();
        throw error;
      }
      return {
        begin(subscriber) {
          const over = failure ?? ending;
          if (over !== null) {
            leave();
            subscriber.end(over.error);
            return;
          }
          const { results: initial, number: seen } = state;
          // It is kept for as long as the subscription.
          state = nothing;
          member = { client, subscriber, leave, initial, seen, notBeforeMs: 0, begun: 0 };
          members.add(member);
          serve(member);
          void pull();
        },
        drained() {
          if (member === undefined || isOver) return;
          serve(member);
          void pull();
        },
        leave,
        fail(error) {
          if (isOver) return;
          failure = { error };
          const subscriber = member?.subscriber;
          if (subscriber === undefined) return;
          leave();
          subscriber.end(error);
        },
      };
    },
  };
}
