import { signal } from "@preact/signals";
import { graphqlPath } from "../route.ts";
import { withDefaults } from "./with-defaults.ts";

/** Where GraphiQL opens with a query of the dashboard, and with the values that it was asked with. */
export function graphiqlHref(document: unknown, variables: Readonly<Record<string, unknown>>): string {
  const query = withDefaults(unindented(String(document)), variables);
  return `${graphqlPath}?${new URLSearchParams({ query })}`;
}

/** Where the link in the header leads: to the query behind the whole page, when there is one. */
export const pageGraphiqlHref = signal<string>(graphqlPath);

/** Documents are indented as the code around them. */
function unindented(document: string): string {
  return document.replace(/^ {2}/gm, "").trim();
}
