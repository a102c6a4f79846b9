import type { ComponentChildren } from "preact";
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
