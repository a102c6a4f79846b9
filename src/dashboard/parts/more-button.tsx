import { useSignal } from "@preact/signals";
import type { ApiError } from "../graphql/api-error.ts";
import { ActionError } from "./error-notice.tsx";

interface MoreButtonProps {
  readonly label: string;
  /** @returns why it was refused; null: it was not. */
  readonly onMore: () => Promise<ApiError | null>;
}

/** Asks for the rest of a list. */
export function MoreButton({ label, onMore }: MoreButtonProps) {
  const error = useSignal<ApiError | null>(null);
  const isAsking = useSignal(false);
  return (
    <>
      <button
        type="button"
        class="more"
        disabled={isAsking.value}
        onClick={async () => {
          isAsking.value = true;
          error.value = await onMore();
          isAsking.value = false;
        }}
      >
        {label}
      </button>
      <ActionError error={error.value} />
    </>
  );
}
