import type { ComponentChildren } from "preact";
import { type ApiError, advice } from "../graphql/api-error.ts";

/** An error of the API as a sentence that says what to do. */
export function ErrorNotice({ error }: { readonly error: ApiError | null }) {
  return error === null ? null : <Notice kind="error">{advice(error)}</Notice>;
}

export function Notice({
  kind,
  children,
}: {
  readonly kind: "error" | "info";
  readonly children: ComponentChildren;
}) {
  return (
    <p class="notice" data-kind={kind} role={kind === "error" ? "alert" : "status"}>
      {children}
    </p>
  );
}
