import type { RefObject } from "preact";
import { useLayoutEffect, useState } from "preact/hooks";

/** Rows from `from` up to, without, `to`. */
export interface RowRange {
  readonly from: number;
  readonly to: number;
}

export interface Visible extends RowRange {
  /** Of one row, in px: the styles decide, by the width of the window. */
  readonly rowHeight: number;
}

/** Which rows of a list are in the window. The list scrolls with the page; `--row-height` of its element is that of one row. */
export function useVisibleRange(list: RefObject<HTMLElement | null>, total: number): Visible {
  const [visible, setVisible] = useState<Visible>({ from: 0, to: 30, rowHeight: 44 });
  useLayoutEffect(() => {
    let frame = 0;
    function measure(): void {
      frame = 0;
      const element = list.current;
      if (element === null) return;
      const rowHeight = Number.parseFloat(getComputedStyle(element).getPropertyValue("--row-height")) || 44;
      const top = -element.getBoundingClientRect().top;
      const from = Math.max(0, Math.min(total, Math.floor(top / rowHeight)));
      const to = Math.max(from, Math.min(total, Math.ceil((top + innerHeight) / rowHeight)));
      setVisible((before) =>
        before.from === from && before.to === to && before.rowHeight === rowHeight
          ? before
          : { from, to, rowHeight },
      );
    }
    function plan(): void {
      if (frame === 0) frame = requestAnimationFrame(measure);
    }
    measure();
    addEventListener("scroll", plan, { passive: true });
    addEventListener("resize", plan);
    return () => {
      cancelAnimationFrame(frame);
      removeEventListener("scroll", plan);
      removeEventListener("resize", plan);
    };
  }, [list, total]);
  return visible;
}

/** Rows beyond the window that are drawn, so that a scroll does not meet nothing. */
const spare = 8;
const step = 20;
const maxFirst = 120;

/** The rows to draw. */
export function drawnRows({ from, to }: RowRange, total: number): RowRange {
  return { from: Math.max(0, from - spare), to: Math.min(total, to + spare) };
}

/** The page to ask for: in steps, so that a short scroll needs no other page. */
export function pageFor({ from, to }: RowRange): { readonly offset: number; readonly first: number } {
  const offset = Math.floor(Math.max(0, from - spare) / step) * step;
  const first = Math.ceil((to + spare - offset) / step) * step;
  return { offset, first: Math.min(maxFirst, Math.max(2 * step, first)) };
}
