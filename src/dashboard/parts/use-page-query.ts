import { useEffect } from "preact/hooks";
import { graphiqlHref, pageGraphiqlHref } from "../graphql/graphiql-link.ts";
import { graphqlPath } from "../route.ts";

/** Has the link to GraphiQL in the header lead to the query behind the page, while it is shown. */
export function usePageQuery(document: unknown, variables: Readonly<Record<string, unknown>>): void {
  const href = graphiqlHref(document, variables);
  useEffect(() => {
    pageGraphiqlHref.value = href;
    return () => {
      pageGraphiqlHref.value = graphqlPath;
    };
  }, [href]);
}
