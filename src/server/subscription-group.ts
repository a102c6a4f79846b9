import type { GraphQLError } from "graphql";
import { beginInFirst, type CpuShare } from "../core/cpu-share.ts";
import type { PushSource } from "../core/push-source.ts";
import type { EncodedResult } from "./encoded-result.ts";
import type { FairScheduler } from "./fair-scheduler.ts";
import { createPushDelivery, type Payload, pushSlices, type Receiver } from "./push-delivery.ts";
import type { Refusal, Subscriber, Subscription } from "./subscriber.ts";

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

/** What members begin with that join later than others. */
interface State {
  readonly results: readonly EncodedResult[];
  /** Of the last push that a member has seen with these. */
  readonly number: number;
}

interface Ending {
  readonly error: GraphQLError | null;
}

const nothing: State = { results: [], number: 0 };
const notBegun: Subscriber = { isReady: () => false, write() {}, end() {} };

export function createSubscriptionGroup(options: SubscriptionGroupOptions): SubscriptionGroup {
  const { open, run, maskError, scheduler, onClose } = options;
  let opening: ReturnType<typeof open> | undefined;
  /** The client of the first member. */
  let opener = "";
  let source: PushSource<unknown> | undefined;
  /** Members, and those that are about to be. */
  let users = 0;
  let reading: Promise<unknown> = Promise.resolve();
  let nextReading: Promise<State> | undefined;
  let isPulling = false;
  let ending: Ending | null = null;

  /** A class, since there may be ten thousand. */
  class Member implements Subscription, Receiver {
    readonly client: string;
    subscriber = notBegun;
    initial = nothing.results;
    begun = 0;
    seen = 0;
    notBeforeMs = 0;
    readonly #onLeave: () => void;
    #isOver = false;
    /** For what it was ended before it began. */
    #failure: Ending | null = null;

    constructor(client: string, onLeave: () => void) {
      users += 1;
      this.client = client;
      this.#onLeave = onLeave;
    }

    begin(subscriber: Subscriber): void {
      const over = this.#failure ?? ending;
      if (over !== null) {
        this.leave();
        subscriber.end(over.error);
        return;
      }
      this.subscriber = subscriber;
      members.add(this);
      this.drained();
    }

    drained(): void {
      if (this.#isOver) return;
      delivery.serve(this);
      void pull();
    }

    leave(): void {
      if (this.#isOver) return;
      this.#isOver = true;
      users -= 1;
      members.delete(this);
      if (users === 0) finish(null);
      this.#onLeave();
    }

    fail(error: GraphQLError): void {
      if (this.#isOver) return;
      this.#failure = { error };
      if (this.subscriber === notBegun) return;
      this.leave();
      this.subscriber.end(error);
    }
  }

  const delivery = createPushDelivery<Member>({
    minIntervalMs: () => source?.minIntervalMs ?? 0,
    catchUp,
  });
  const { members } = delivery;

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

  /** Takes pushes while any member is ready: when none is, the next push has the newest state of all that changes meanwhile. */
  async function pull(): Promise<void> {
    if (isPulling || source === undefined) return;
    isPulling = true;
    try {
      while (ending === null && delivery.isAnyReady()) {
        if (!pushSlices.has()) await pushSlices.next();
        const { done, value } = await share.begin(source.next);
        if (done === true) return finish(null);
        const delivered = delivery.push(await run(value, share, chargedClient()));
        // A source without an interval may have very many at once: each is written before the next is taken.
        if (source.minIntervalMs === 0) await delivered;
      }
    } catch (error) {
      finish(maskError(error));
    } finally {
      isPulling = false;
    }
  }

  /** Makes what members that have missed some pushes are written. */
  async function catchUp({ client, seen }: Member): Promise<Payload | null> {
    if (source === undefined) return null;
    try {
      const newer = await source.since(seen);
      const result = newer.push === null ? null : await run(newer.push, share, client);
      return { result, number: newer.number, isOwn: true };
    } catch (error) {
      finish(maskError(error));
      return null;
    }
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
    const { pushes, number } = await shareOf(client).begin(join);
    const results: EncodedResult[] = [];
    for (const push of pushes) {
      if (!pushSlices.has()) await pushSlices.next();
      results.push(await run(push, share, client));
    }
    return { results, number };
  }

  function finish(error: GraphQLError | null): void {
    if (ending !== null) return;
    ending = { error };
    delivery.stop();
    onClose();
    for (const member of [...members]) {
      member.leave();
      member.subscriber.end(error);
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
      const member = new Member(client, onLeave);
      try {
        const refusal = await openSource(client);
        if (refusal === null && delivery.number > 0 && source !== undefined) {
          const { results, number } = await readState(source, client);
          member.initial = results;
          member.seen = number;
        }
        if (refusal === null) return member;
        member.leave();
        return refusal;
      } catch (error) {
        member.leave();
        throw error;
      }
    },
  };
}
