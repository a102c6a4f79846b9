import type { ComponentChildren } from "preact";

/** Where the pages of docs/ are read. */
const docsUrl = "https://github.com/queue-latency/queue-latency/blob/main/docs/";

interface DocsLinkProps {
  /** A file of docs/. */
  readonly page: "fields.md" | "sources.md";
  readonly children: ComponentChildren;
}

/** Leads to the documentation, in another tab. The browser sends no referrer and no opener. */
export function DocsLink({ page, children }: DocsLinkProps) {
  return (
    <a href={docsUrl + page} target="_blank" rel="noopener noreferrer">
      {children}
      <span class="visually-hidden"> (opens in a new tab)</span>
    </a>
  );
}
