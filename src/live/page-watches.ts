import { beginInFirst, type CpuShare } from "../core/cpu-share.ts";
import { AppError } from "../core/errors.ts";
import type { Joined, Newer, PushSource } from "../core/push-source.ts";
import type { QueueCounts, QueuePage, QueuePageRequest } from "../core/queue-page.ts";
import type { QueueSnapshot } from "../core/snapshot.ts";
import { type MonotonicClock, monotonicClock } from "../runtime/clock.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";

export interface PageWatches extends Service {
  /**
   * The page at once, then whenever it is another one, at most every `minIntervalMs`. All who watch the same page share one
   * computation, and get the same object. A slow reader gets the newest page and skips the others. While Redis does not answer,
   * the last page is pushed once with every queue stale; when it is back, a fresh one.
   *
   * @param share of the client: the computation is begun in the first share of all who watch the page, so that a client that has
   *   used its own delays no other.
   * @throws AppError SERVICE_UNAVAILABLE when the first page cannot be read; BAD_USER_INPUT as the page.
   */
  watch(request: QueuePageRequest, minIntervalMs: number, share: CpuShare): Promise<PushSource<QueuePage>>;
  /** Ends all streams. */
  stop(): Promise<void>;
}

export interface PageWatchesOptions {
  readonly read: (request: QueuePageRequest, share: Pick<CpuShare, "begin">) => Promise<QueuePage>;
  readonly logger: Logger;
  /** For how long Redis may be away before the last page counts as stale. @default 1_000 // 1 second */
  readonly graceMs?: number;
  readonly clock?: MonotonicClock;
}

/** A page, with the text that shows whether another one is the same. */
interface Version {
  readonly page: QueuePage;
  readonly content: string;
}

/** One group of subscribers. */
interface Member {
  readonly share: CpuShare;
  readonly source: PushSource<QueuePage>;
  offer(version: Version): void;
  end(): void;
}

/** One page that is watched, by any number of subscribers. */
interface WatchedPage {
  readonly members: Set<Member>;
  close(): void;
}

export function createPageWatches(options: PageWatchesOptions): PageWatches {
  const { read, logger, graceMs = 1_000, clock = monotonicClock } = options;
  const watched = new Map<string, WatchedPage>();
  let isStopped = false;

  function open(key: string, request: QueuePageRequest, minIntervalMs: number, first: Version): WatchedPage {
    const members = new Set<Member>();
    let latest = first;
    let readAtMs = clock.now();
    let isClosed = false;

    function* shares(): Iterable<CpuShare> {
      for (const { share } of members) yield share;
    }

    function show(page: QueuePage): void {
      const content = contentOf(page);
      // The same object for the same page: what is made of it is made once for all members.
      if (content !== latest.content) latest = { page, content };
      for (const member of [...members]) member.offer(latest);
    }

    async function readAgain(): Promise<void> {
      const startedAtMs = clock.now();
      try {
        const page = await read(request, { begin: (work) => beginInFirst(shares(), work) });
        readAtMs = startedAtMs;
        show(page);
      } catch (error) {
        if (!(error instanceof AppError)) logger.error({ err: error }, "cannot read a page of queues");
        if (clock.now() >= readAtMs + graceMs) show(stalePage(latest.page));
      }
      // From what was pushed on, however long it took to read it.
      if (!isClosed) timer = setTimeout(readAgain, minIntervalMs);
    }

    let timer = setTimeout(readAgain, minIntervalMs);
    const entry: WatchedPage = {
      members,
      close() {
        isClosed = true;
        clearTimeout(timer);
        watched.delete(key);
      },
    };
    watched.set(key, entry);
    return entry;
  }

  return {
    async watch(request, minIntervalMs, share) {
      const key = JSON.stringify([request, minIntervalMs]);
      const page = await read(request, share);
      const first = { page, content: contentOf(page) };
      const entry = watched.get(key) ?? open(key, request, minIntervalMs, first);
      const member = createMember({
        ...{ first, minIntervalMs, share, clock },
        read: () => read(request, share),
        onEnd() {
          entry.members.delete(member);
          if (entry.members.size === 0) entry.close();
        },
      });
      entry.members.add(member);
      if (isStopped) member.end();
      return member.source;
    },
    start: async () => {},
    async stop() {
      isStopped = true;
      for (const { members } of [...watched.values()]) for (const member of [...members]) member.end();
    },
  };
}

interface MemberOptions {
  readonly first: Version;
  readonly minIntervalMs: number;
  readonly share: CpuShare;
  readonly read: () => Promise<QueuePage>;
  readonly clock: MonotonicClock;
  readonly onEnd: () => void;
}

function createMember({ first, minIntervalMs, share, read, clock, onEnd }: MemberOptions): Member {
  type Result = IteratorResult<QueuePage, undefined>;
  const ended: Result = { done: true, value: undefined };
  /** Earlier than this it takes no second page: it has just got its first one. */
  const offersAtMs = clock.now() + minIntervalMs;
  /** Of the page that all subscribers of the group have; null when they have different ones. */
  let content: string | null = first.content;
  let waiting: QueuePage | undefined = first.page;
  let newest = first.page;
  let pushes = 0;
  let pending: PromiseWithResolvers<Result> | undefined;
  let isEnded = false;

  function push(): void {
    if (pending === undefined || waiting === undefined) return;
    const { resolve } = pending;
    const value = waiting;
    pending = undefined;
    waiting = undefined;
    newest = value;
    pushes += 1;
    resolve({ done: false, value });
  }

  async function join(): Promise<Joined<QueuePage>> {
    const page = await read();
    if (contentOf(page) !== content) content = null;
    return { pushes: [page], number: pushes };
  }

  async function since(number: number): Promise<Newer<QueuePage>> {
    return { push: pushes > number ? newest : null, number: pushes };
  }

  function end(): void {
    if (isEnded) return;
    isEnded = true;
    pending?.resolve(ended);
    pending = undefined;
    onEnd();
  }

  const source: PushSource<QueuePage> = {
    minIntervalMs,
    join,
    since,
    next() {
      if (isEnded) return Promise.resolve(ended);
      pending ??= Promise.withResolvers();
      const { promise } = pending;
      push();
      return promise;
    },
    async return() {
      end();
      return ended;
    },
    [Symbol.asyncIterator]: () => source,
  };
  return {
    share,
    source,
    offer(version) {
      if (version.content === content || clock.now() < offersAtMs - timerSlackMs) return;
      content = version.content;
      waiting = version.page;
      push();
    },
    end,
  };
}

/** Node's timers may fire a little early. */
const timerSlackMs = 5;

/** Of each field of a queue, whether another value of it makes another page: not that of a time at which it was read, or is to be. */
const isContent: Readonly<Record<keyof QueueSnapshot, boolean>> = {
  ...{ queue: true, source: true, state: true, accuracy: true, stale: true, health: true, clockSkewMs: true },
  ...{ latencyMs: true, oldestSinceMs: true, overtaken: true, inOrderSinceMs: true },
  ...{ depth: true, depthIsLowerBound: true, scheduled: true, lost: true, throughput: true, waitTime: true },
  ...{ inFlight: true, inFlightSinceMs: true },
  ...{ measuredAtMs: false, changesAtMs: false, changedAtMs: false },
  ...{ uncountedAtMs: false, totals: false, unreadable: false },
};
const contentFields = (Object.keys(isContent) as (keyof QueueSnapshot)[]).filter((field) => isContent[field]);

/** Everything of a page that a subscriber may see, but for the times at which it was read. */
function contentOf({ edges, hasMore, omitted, counts }: QueuePage): string {
  return JSON.stringify([
    hasMore,
    omitted,
    counts === null ? null : { ...counts, bySource: [...counts.bySource] },
    // A job in flight grows older, as the head does.
    edges.map(({ node }) => [
      node.inFlightSinceMs == null || node.stale ? null : node.measuredAtMs,
      ...contentFields.map((field) => node[field]),
    ]),
  ]);
}

/** What is stale has an UNKNOWN health. */
function stalePage(page: QueuePage): QueuePage {
  const { counts } = page;
  return {
    ...page,
    edges: page.edges.map(({ cursor, node }) => ({
      cursor,
      node: {
        ...{ ...node, stale: true, throughput: null, waitTime: null },
        ...(node.health === undefined ? {} : { health: "UNKNOWN" }),
      },
    })),
    counts: counts === null ? null : { ...counts, byHealth: allUnknown(counts.byHealth) },
  };
}

function allUnknown(byHealth: QueueCounts["byHealth"]): QueueCounts["byHealth"] {
  if (byHealth === null) return null;
  const all = Object.values(byHealth).reduce((sum, count) => sum + count, 0);
  return { OK: 0, SLOW: 0, FALLING_BEHIND: 0, STALLED: 0, UNKNOWN: all };
}
