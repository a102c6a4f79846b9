import type { ComponentChildren } from "preact";

/** Where the pages of docs/ are read. */
const docsUrl = "https://github.com/queue-latency/queue-latency/blob/main/docs/";

interface DocsLinkProps {
  /** A file of docs/. */
  readonly page: "fields.md" | "sources.md";
  readonly children: ComponentChildren;
}

/** Leads to the documentation. It opens in another tab, and learns nothing of this one. */
export function DocsLink({ page, children }: DocsLinkProps) {
  return (
    <a href={docsUrl + page} target="_blank" rel="noopener noreferrer">
      {children}
    </a>
  );
}
