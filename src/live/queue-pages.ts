import type { CpuShare } from "../core/cpu-share.ts";
import { type Forecast, type Health, healths as healthNames } from "../core/health.ts";
import {
  type Cursor,
  compareNames,
  compareRanks,
  decodeCursor,
  encodeCursor,
  type Rank,
  rankOf,
} from "../core/queue-order.ts";
import {
  countedOrders,
  forecastOrders,
  isAmong,
  type QueueCounts,
  type QueuePage,
  type QueuePageRequest,
} from "../core/queue-page.ts";
import type { QueueSnapshot } from "../core/snapshot.ts";
import { createTimeSlices } from "../runtime/time-slices.ts";
import type { AllQueues, AllSnapshots } from "./all-snapshots.ts";
import { createQueueFilter, isUnfiltered } from "./queue-filter.ts";
import type { SharedCounts } from "./shared-counts.ts";

export interface QueuePages {
  /**
   * A page of all queues, from the shared reading: worst first, but in the order of NAME.
   *
   * Pages of one walk rank the queues by one instant, which the cursor carries. A queue is on exactly one page unless its rank
   * changes during the walk; one that does is missed or comes twice.
   *
   * @param share pays for putting the queues in order and filtering them.
   * @throws AppError BAD_USER_INPUT for a cursor of another order; SERVICE_UNAVAILABLE when Redis does not answer.
   */
  read(request: QueuePageRequest, share: Pick<CpuShare, "begin">): Promise<QueuePage>;
}

export interface QueuePagesOptions {
  readonly all: Pick<AllSnapshots, "read">;
  /** With the throughput and the wait times that {@link countedOrders} go by. */
  readonly allCounted: Pick<AllSnapshots, "read">;
  readonly withCounts: SharedCounts["withCounts"];
  readonly objectiveMsOf: (queue: string) => number | null;
  /** Of all queues, by index. */
  readonly healthOfAll: (reading: AllQueues) => Promise<readonly Health[]>;
  readonly forecastOfAll: (reading: AllQueues) => Promise<readonly (Forecast | null)[]>;
}

interface Ranked {
  /** As it was when it was last read. */
  readonly snapshot: QueueSnapshot;
  readonly rank: Rank;
  /** Its place in the order of names. */
  readonly index: number;
}

/** The queues that pass a filter, in an order. */
interface Selection {
  readonly queues: readonly Ranked[];
  /** Of all queues, by index; null: not needed. */
  readonly healths: readonly Health[] | null;
  /** Null where there was nothing to filter or to count. */
  readonly counts: QueueCounts | null;
}

/** What is known of all queues beside their snapshots, by index; null: not needed. */
interface Findings {
  readonly healths: readonly Health[] | null;
  readonly forecasts: readonly (Forecast | null)[] | null;
}

/** What was made of one reading, for all who ask the same of it. */
interface Made {
  readonly orders: Map<string, readonly Ranked[]>;
  readonly selections: Map<string, Selection>;
  /** With their health, by index. */
  readonly nodes: Map<number, QueueSnapshot>;
}

/** Queues that are filtered at a stretch: a search in the longest names takes less than a ms. */
const queuesPerTurn = 200;
/** All pages that are filtered or put in order at the same time share them: hundreds of clients may ask at once. */
const slices = createTimeSlices(2);
/** Orders, and selections, that are kept of one reading: each first page has the same, later pages have one for each walk. */
const maxKept = 20;
/** For so long counts of a queue are shown again: until the next reading of all queues. */
const holdCountsMs = 900;

export function createQueuePages(options: QueuePagesOptions): QueuePages {
  const { all, allCounted, withCounts, objectiveMsOf, healthOfAll, forecastOfAll } = options;
  const made = new WeakMap<AllQueues, Made>();

  function madeOf(reading: AllQueues): Made {
    const known = made.get(reading) ?? { orders: new Map(), selections: new Map(), nodes: new Map() };
    made.set(reading, known);
    return known;
  }

  function inOrder(
    reading: AllQueues,
    { orderBy, reverse }: QueuePageRequest,
    atMs: number,
    { healths, forecasts }: Findings,
  ): readonly Ranked[] {
    const { orders } = madeOf(reading);
    const key = `${orderBy} ${reverse} ${atMs}`;
    const known = orders.get(key);
    if (known !== undefined) return known;
    const ranked = reading.snapshots.map((snapshot, index) => {
      const [health, forecast] = [healths?.[index] ?? null, forecasts?.[index] ?? null];
      return { snapshot, rank: rankOf(snapshot, orderBy, { atMs, objectiveMsOf, health, forecast }), index };
    });
    if (orderBy !== "NAME") ranked.sort((a, b) => compareRanks(a.rank, b.rank) || a.index - b.index);
    if (reverse) ranked.reverse();
    keep(orders, key, ranked);
    return ranked;
  }

  async function select(
    reading: AllQueues,
    request: QueuePageRequest,
    atMs: number,
    share: Pick<CpuShare, "begin">,
  ): Promise<Selection> {
    const { selections } = madeOf(reading);
    const { orderBy, reverse, prefix, search, states } = request;
    const needsHealth = orderBy === "HEALTH" || request.healths !== null || request.hasHealthCounts;
    const key = JSON.stringify([
      ...[orderBy, reverse, atMs, prefix, search, request.source, states, request.healths],
      needsHealth,
    ]);
    const known = selections.get(key);
    if (known !== undefined) return known;
    const healths = needsHealth ? await healthOfAll(reading) : null;
    const forecasts = isAmong(forecastOrders, orderBy) ? await forecastOfAll(reading) : null;
    const ranked = await inTurn(share, () => inOrder(reading, request, atMs, { healths, forecasts }));
    if (!request.hasCounts && isUnfiltered(request)) return { queues: ranked, healths, counts: null };
    const passes = createQueueFilter(request);
    const wantedHealths = request.healths === null ? null : new Set(request.healths);
    const queues: Ranked[] = [];
    const bySource = new Map<string, number>();
    const byHealth = Object.fromEntries(healthNames.map((health) => [health, 0])) as Record<Health, number>;

    function add(each: Ranked): void {
      const { source } = each.snapshot;
      const health = healths?.[each.index] ?? "UNKNOWN";
      const isOfSource = request.source === null || source === request.source;
      const isOfHealth = wantedHealths === null || wantedHealths.has(health);
      if (!(isOfSource || isOfHealth) || !passes(each.snapshot)) return;
      if (isOfSource) byHealth[health] += 1;
      if (isOfHealth && source !== null) bySource.set(source, (bySource.get(source) ?? 0) + 1);
      if (isOfSource && isOfHealth) queues.push(each);
    }

    for (let from = 0; from < ranked.length; from += queuesPerTurn)
      await inTurn(share, () => ranked.slice(from, from + queuesPerTurn).forEach(add));
    const counts = { total: queues.length, bySource, byHealth: healths === null ? null : byHealth };
    const selection = { queues, healths, counts };
    keep(selections, key, selection);
    return selection;
  }

  /** The same object for all pages that show it. */
  function nodeOf(reading: AllQueues, index: number, healths: readonly Health[] | null): QueueSnapshot {
    const snapshot = reading.agedAt(index);
    if (healths === null) return snapshot;
    const { nodes } = madeOf(reading);
    const node = nodes.get(index) ?? { ...snapshot, health: healths[index] ?? "UNKNOWN" };
    nodes.set(index, node);
    return node;
  }

  async function counted(
    { throughput, waitTime }: QueuePageRequest,
    nodes: readonly QueueSnapshot[],
  ): Promise<readonly QueueSnapshot[]> {
    if (throughput.length === 0 && waitTime.length === 0) return nodes;
    const parts = { throughput: new Set(throughput), waitTime: new Set(waitTime) };
    return withCounts(nodes, parts, holdCountsMs);
  }

  return {
    async read(request, share) {
      const { orderBy, reverse, first, after, offset } = request;
      const cursor = after === null ? null : decodeCursor(orderBy, after);
      const reading = await (isAmong(countedOrders, orderBy) ? allCounted : all).read();
      const atMs = cursor?.atMs ?? reading.measuredAtMs;
      const { queues, healths, counts } = await select(reading, request, atMs, share);
      const start = (cursor === null ? 0 : startBehind(cursor, queues, reading, reverse)) + offset;
      const onPage = queues.slice(start, start + first);
      const nodes = await counted(
        request,
        onPage.map(({ index }) => nodeOf(reading, index, healths)),
      );
      const edges = onPage.map(({ snapshot: { queue }, rank }, i) => ({
        cursor: encodeCursor(orderBy, { queue, rank, atMs }),
        node: nodes[i] as QueueSnapshot,
      }));
      return {
        edges,
        hasMore: start + first < queues.length,
        endCursor: edges.at(-1)?.cursor ?? null,
        counts: request.hasCounts ? counts : null,
        measuredAtMs: reading.measuredAtMs,
        omitted: reading.omitted,
      };
    },
  };
}

function keep<T>(known: Map<string, T>, key: string, value: T): void {
  if (known.size >= maxKept) known.clear();
  known.set(key, value);
}

async function inTurn<T>(share: Pick<CpuShare, "begin">, work: () => T): Promise<T> {
  if (!slices.has()) await slices.next();
  return share.begin(work);
}

/** Index of the first queue behind the cursor, which may be of an older reading. */
function startBehind(
  { queue, rank }: Cursor,
  queues: readonly Ranked[],
  { snapshots }: AllQueues,
  reverse: boolean,
): number {
  const isAfter = bisect(snapshots, (snapshot) => compareNames(snapshot.queue, queue) > 0);
  // Of a queue that is still there, the one behind it by name; of the others, the one that is in its place.
  const index = snapshots[isAfter - 1]?.queue === queue ? isAfter - 1 : isAfter - 0.5;
  const direction = reverse ? -1 : 1;
  return bisect(queues, (each) => direction * (compareRanks(rank, each.rank) || index - each.index) < 0);
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
