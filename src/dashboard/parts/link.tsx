import type { ComponentChildren } from "preact";
import { hrefOf, navigate } from "../route.ts";
import type { Route } from "../route-path.ts";

interface LinkProps {
  readonly to: Route;
  readonly query?: URLSearchParams;
  readonly class?: string;
  readonly title?: string;
  readonly "aria-current"?: "page" | undefined;
  readonly "data-index"?: number;
  readonly children: ComponentChildren;
}

/** A link to a page of the dashboard. With a key held down it opens in another tab, as any link does. */
export function Link({ to, query, children, ...rest }: LinkProps) {
  return (
    <a
      {...rest}
      href={hrefOf(to, query)}
      onClick={(event) => {
        if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
        event.preventDefault();
        navigate(to, query);
      }}
    >
      {children}
    </a>
  );
}
