import { signal, useComputed, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import type { QueueRow } from "../graphql/documents.ts";
import { useKeys } from "../keys.ts";
import { Notice } from "../parts/notice.tsx";
import { params, setParams } from "../route.ts";
import { choiceOf, type SortKey } from "./choice.ts";
import { holdOrder, isOutdated, type Rows, rowCount, rowsOf } from "./held-order.ts";
import { QueueTableRow } from "./queue-row.tsx";
import { type LoadedPage, type Range, watchRows } from "./queue-store.ts";
import { loadSparklines } from "./sparkline-store.ts";
import { drawnRows, pageFor, useVisibleRange } from "./visible-range.ts";

interface QueueTableProps {
  readonly page: LoadedPage;
  /** Called when other rows are on the screen. */
  readonly onRange: (range: Range) => void;
}

const settleMs = 150;
const sparklineEveryMs = 10_000;

/** The rows that keep their place though their queue has left the page. */
const apart = signal<ReadonlyMap<string, QueueRow>>(new Map());

/** All queues, of which only the rows in the window are drawn. The order is held while the pointer or the focus is in it. */
export function QueueTable({ page, onRange }: QueueTableProps) {
  const body = useRef<HTMLTableSectionElement>(null);
  const hasPointer = useSignal(false);
  const hasFocus = useSignal(false);
  const isHeld = useComputed(() => hasPointer.value || hasFocus.value);
  const held = useRef<{ readonly rows: Rows; readonly choiceKey: string } | null>(null);

  const names = page.rows.map(({ queue }) => queue);
  // Another order or filter is what the person asked for.
  const before = held.current?.choiceKey === page.choiceKey ? held.current.rows : new Map();
  const rows = isHeld.value ? holdOrder(before, names, page.offset) : rowsOf(names, page.offset);
  held.current = isHeld.value ? { rows, choiceKey: page.choiceKey } : null;
  const total = isHeld.value ? rowCount(rows, page.total) : page.total;
  const visible = useVisibleRange(body, total);
  const drawn = drawnRows(visible, total);
  const isOrderOld = isHeld.value && (total > page.total || isOutdated(rows, names, page.offset));
  const byName = new Map(page.rows.map((row) => [row.queue, row]));

  const indexes = Array.from({ length: Math.max(0, drawn.to - drawn.from) }, (_, i) => drawn.from + i);
  const shown = indexes.map((index) => rows.get(index)).filter((name) => name !== undefined);
  const left = shown.filter((name) => !byName.has(name)).sort();

  const { offset, first } = pageFor(visible);
  useEffect(() => {
    const timer = setTimeout(() => onRange({ offset, first }), settleMs);
    return () => clearTimeout(timer);
  }, [offset, first]);

  const leftKey = left.join("\n");
  useEffect(() => {
    if (leftKey === "") return;
    const stop = watchRows(leftKey.split("\n"), (changed) => {
      apart.value = new Map([...apart.value, ...changed.map((row) => [row.queue, row] as const)]);
    });
    return () => {
      stop();
      apart.value = new Map();
    };
  }, [leftKey]);

  const shownKey = shown.join("\n");
  useEffect(() => {
    if (shownKey === "") return;
    const load = () => void loadSparklines(shownKey.split("\n"));
    const soon = setTimeout(load, settleMs);
    const timer = setInterval(load, sparklineEveryMs);
    return () => {
      clearTimeout(soon);
      clearInterval(timer);
    };
  }, [shownKey]);

  // Not every browser says that the focus has gone when the row that had it is no longer drawn.
  useEffect(() => {
    if (hasFocus.peek() && !body.current?.contains(document.activeElement)) hasFocus.value = false;
  });

  useRowKeys(body, visible.rowHeight, total);

  return (
    <>
      {isOrderOld && <Notice kind="info">The order is held while you are in the table.</Notice>}
      <table class="queues" aria-rowcount={total + 1}>
        <caption class="visually-hidden">Queues</caption>
        <thead>
          <tr class="row head" aria-rowindex={1}>
            <Column name="name" title="Queue" sort="name" />
            <Column name="health" title="Health" sort="worst" />
            <Column name="latency" title="Latency" sort="latency" />
            <Column name="objective" title="Objective" sort="lateness" />
            <th
              scope="col"
              class="cell-spark"
              title="Not to sort by: only the history of the rows on the screen is read"
            >
              30 minutes
            </th>
            <Column name="depth" title="Depth" sort="depth" />
            <Column name="in" title="In/s" sort="in" />
            <Column name="out" title="Out/s" sort="out" />
            <Column name="p95" title="p95 wait" sort="p95" />
            <Column name="forecast" title="Forecast" sort="forecast" />
          </tr>
        </thead>
        <tbody
          ref={body}
          style={{ height: `${total * visible.rowHeight}px` }}
          onPointerEnter={(event) => {
            hasPointer.value = event.pointerType === "mouse";
          }}
          onPointerLeave={() => {
            hasPointer.value = false;
          }}
          onFocusIn={() => {
            hasFocus.value = true;
          }}
          onFocusOut={(event) => {
            hasFocus.value = event.currentTarget.contains(event.relatedTarget as Node | null);
          }}
        >
          {indexes.map((index) => {
            const name = rows.get(index);
            const row = name === undefined ? undefined : (byName.get(name) ?? apart.value.get(name));
            return (
              <QueueTableRow key={name ?? index} index={index} topPx={index * visible.rowHeight} row={row} />
            );
          })}
        </tbody>
      </table>
    </>
  );
}

interface ColumnProps {
  readonly name: string;
  readonly title: string;
  readonly sort: SortKey;
}

/** A head that sorts: once more turns the order round. */
function Column({ name, title, sort }: ColumnProps) {
  const choice = choiceOf(params.value);
  const isSorted = choice.sort === sort;
  // Names begin with the first, numbers with the highest.
  const isAscending = (sort === "name") !== choice.isReversed;
  const direction = isAscending ? "ascending" : "descending";
  return (
    <th scope="col" class={`cell-${name}`} aria-sort={isSorted ? direction : undefined}>
      <button
        type="button"
        onClick={() =>
          setParams(
            { sort: sort === "worst" ? null : sort, reverse: isSorted && !choice.isReversed ? "" : null },
            "push",
          )
        }
      >
        {title}
        <span class="sort-arrow" aria-hidden="true">
          {isSorted ? (isAscending ? "↑" : "↓") : ""}
        </span>
      </button>
    </th>
  );
}

/** What of the window the head of the table, and a banner, may cover. */
const headPx = 120;

/** j and k move the focus from row to row, beginning with the first one in the window; the window follows. */
function useRowKeys(body: { readonly current: HTMLElement | null }, rowHeight: number, total: number): void {
  const bodyTop = () => body.current?.getBoundingClientRect().top ?? 0;

  function focusRow(index: number): void {
    const find = () => body.current?.querySelector<HTMLElement>(`[data-index="${index}"]`);
    const top = bodyTop() + index * rowHeight;
    if (top < headPx || top + rowHeight > innerHeight) scrollBy(0, top - innerHeight / 2);
    const link = find();
    if (link != null) link.focus({ preventScroll: true });
    else requestAnimationFrame(() => requestAnimationFrame(() => find()?.focus({ preventScroll: true })));
  }

  function move(by: number): boolean {
    const { activeElement } = document;
    const current = activeElement instanceof HTMLElement ? activeElement.dataset.index : undefined;
    const first = Math.max(0, Math.ceil((headPx - bodyTop()) / rowHeight));
    const index = current === undefined ? first : Number(current) + by;
    if (index >= 0 && index < total) focusRow(index);
    return true;
  }

  useKeys({
    j: () => move(1),
    k: () => move(-1),
    Escape() {
      const { activeElement } = document;
      if (!(activeElement instanceof HTMLElement) || activeElement === document.body) return false;
      activeElement.blur();
      return true;
    },
  });
}
