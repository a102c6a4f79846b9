import type { CpuShare } from "../core/cpu-share.ts";
import { createGlob } from "../core/glob.ts";
import type { Health } from "../core/health.ts";
import {
  type Cursor,
  compareNames,
  compareRanks,
  decodeCursor,
  encodeCursor,
  type Rank,
  rankOf,
} from "../core/queue-order.ts";
import type { QueueFilter, QueueOrder, QueuePage, QueuePageRequest } from "../core/queue-page.ts";
import type { QueueSnapshot } from "../core/snapshot.ts";
import { createTimeSlices } from "../runtime/time-slices.ts";
import type { AllQueues, AllSnapshots } from "./all-snapshots.ts";

export interface QueuePages {
  /**
   * A page of all queues, from the shared reading: worst first, but in the order of NAME.
   *
   * Pages of one walk rank the queues by one instant, which the cursor carries. A queue is on exactly one page unless its rank
   * changes during the walk; one that does is missed or comes twice.
   *
   * A page by health may have fewer queues than `first`, or none, and yet have more behind it: it reads the history of
   * {@link maxHistories} queues at most.
   *
   * @param share pays for putting the queues in order and filtering them.
   * @throws AppError BAD_USER_INPUT for a cursor of another order; SERVICE_UNAVAILABLE when Redis does not answer.
   */
  read(request: QueuePageRequest, share: Pick<CpuShare, "begin">): Promise<QueuePage>;
}

export interface QueuePagesOptions {
  readonly all: Pick<AllSnapshots, "read">;
  readonly objectiveMsOf: (queue: string) => number | null;
  /** In the order asked. */
  readonly healthOf: (snapshots: readonly QueueSnapshot[]) => Promise<readonly Health[]>;
}

interface Ranked {
  /** As it was when it was last read. */
  readonly snapshot: QueueSnapshot;
  readonly rank: Rank;
  /** Its place in the order of names. */
  readonly index: number;
}

/** Maximum number of histories that one page reads to find the health of queues. */
export const maxHistories = 100;
/** Queues that are filtered at a stretch: a search in the longest names takes less than a ms. */
const queuesPerTurn = 200;
/** All pages that are filtered or put in order at the same time share them: hundreds of clients may ask at once. */
const slices = createTimeSlices(2);
/** Orders that are kept of one reading: each first page has the same, later pages have one for each walk. */
const maxOrders = 20;

export function createQueuePages({ all, objectiveMsOf, healthOf }: QueuePagesOptions): QueuePages {
  const orders = new WeakMap<AllQueues, Map<string, readonly Ranked[]>>();

  function inOrder(reading: AllQueues, order: QueueOrder, atMs: number): readonly Ranked[] {
    const known = orders.get(reading) ?? new Map<string, readonly Ranked[]>();
    orders.set(reading, known);
    const key = `${order} ${atMs}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    const ranked = reading.snapshots.map((snapshot, index) => ({
      snapshot,
      rank: rankOf(snapshot, order, atMs, objectiveMsOf),
      index,
    }));
    if (order !== "NAME") ranked.sort((a, b) => compareRanks(a.rank, b.rank) || a.index - b.index);
    if (known.size >= maxOrders) known.clear();
    known.set(key, ranked);
    return ranked;
  }

  /** Those of some queues whose health is one of these, as far as their histories may still be read. */
  async function inHealth(
    healths: readonly Health[],
    queues: readonly Ranked[],
    reading: AllQueues,
    mayRead: number,
  ): Promise<{
    readonly examined: readonly Ranked[];
    readonly found: readonly Ranked[];
    readonly read: number;
  }> {
    let read = 0;
    const end = queues.findIndex(({ snapshot }) => needsHistory(snapshot) && ++read > mayRead);
    const examined = end < 0 ? queues : queues.slice(0, end);
    const ofExamined = await healthOf(examined.map(({ index }) => reading.agedAt(index)));
    const found = examined.filter((_, i) => healths.includes(ofExamined[i] ?? "UNKNOWN"));
    return { examined, found, read };
  }

  return {
    async read(request, share) {
      const { orderBy, first, after, healths } = request;
      const cursor = after === null ? null : decodeCursor(orderBy, after);
      const reading = await all.read();
      const atMs = cursor?.atMs ?? reading.measuredAtMs;
      const ranked = await inTurn(share, () => inOrder(reading, orderBy, atMs));
      const start = cursor === null ? 0 : startBehind(cursor, ranked, reading);
      const passes = filterOf(request);

      const found: Ranked[] = [];
      let histories = 0;
      let examined: Ranked | undefined;
      let isCut = false;
      for (let at = start; at < ranked.length && found.length <= first && !isCut; at += queuesPerTurn) {
        const turn = await inTurn(share, () =>
          ranked.slice(at, at + queuesPerTurn).filter(({ snapshot }) => passes(snapshot)),
        );
        if (healths === null) {
          found.push(...turn);
          continue;
        }
        const result = await inHealth(healths, turn, reading, maxHistories - histories);
        found.push(...result.found);
        histories += result.read;
        examined = result.examined.at(-1) ?? examined;
        isCut = result.examined.length < turn.length;
      }

      const cursorOf = ({ snapshot, rank }: Ranked) =>
        encodeCursor(orderBy, { queue: snapshot.queue, rank, atMs });
      const edges = found
        .slice(0, first)
        .map((each) => ({ cursor: cursorOf(each), node: reading.agedAt(each.index) }));
      const isFull = found.length > first;
      const last = isFull || !isCut ? found[Math.min(first, found.length) - 1] : examined;
      return {
        edges,
        hasMore: isFull || isCut,
        endCursor: last === undefined ? null : cursorOf(last),
        measuredAtMs: reading.measuredAtMs,
        omitted: reading.omitted,
      };
    },
  };
}

async function inTurn<T>(share: Pick<CpuShare, "begin">, work: () => T): Promise<T> {
  if (!slices.has()) await slices.next();
  return share.begin(work);
}

/** The health of the others follows from the snapshot alone. */
function needsHistory({ state, stale }: QueueSnapshot): boolean {
  return state === "WAITING" && !stale;
}

function filterOf({ prefix, search, source, states }: QueueFilter): (snapshot: QueueSnapshot) => boolean {
  const matches = search === null ? null : searchMatcher(search);
  const wanted = new Set(states);
  return (snapshot) =>
    (source === null || snapshot.source === source) &&
    (states === null || wanted.has(snapshot.state)) &&
    (prefix === null || snapshot.queue.startsWith(prefix)) &&
    (matches === null || matches(snapshot.queue));
}

function searchMatcher(search: string): (name: string) => boolean {
  return /[*?]/.test(search) ? createGlob(search) : (name) => name.includes(search);
}

/** Index of the first queue behind the cursor, which may be of an older reading. */
function startBehind({ queue, rank }: Cursor, ranked: readonly Ranked[], { snapshots }: AllQueues): number {
  const nameIndex = bisect(snapshots, (snapshot) => compareNames(snapshot.queue, queue) > 0);
  return bisect(ranked, (each) => (compareRanks(rank, each.rank) || nameIndex - each.index - 0.5) < 0);
}

/** Index of the first element of which it is true; it is true of all that follow. */
function bisect<T>(list: readonly T[], isBehind: (each: T) => boolean): number {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBehind(list[middle] as T)) high = middle;
    else low = middle + 1;
  }
  return low;
}
