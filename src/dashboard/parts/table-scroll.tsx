import type { ComponentChildren } from "preact";

interface TableScrollProps {
  readonly label: string;
  readonly children: ComponentChildren;
}

/** A table that scrolls within itself, also with the keys of the arrows. */
export function TableScroll({ label, children }: TableScrollProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: without the focus the keyboard could not scroll it
    <section class="table-scroll" aria-label={label} tabIndex={0}>
      {children}
    </section>
  );
}
