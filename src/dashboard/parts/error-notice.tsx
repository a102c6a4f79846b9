import { type ApiError, advice } from "../graphql/api-error.ts";
import { Notice } from "./notice.tsx";
import { useOutage } from "./outages.tsx";

interface ErrorNoticeProps {
  readonly error: ApiError | null;
  /** Whether it stands at the top of the page, and not in a section further down. @default false */
  readonly isAtTop?: boolean;
}

/** Why something cannot be read that the dashboard keeps reading. What the whole server has is said at the top of the page, once. */
export function ErrorNotice({ error, isAtTop = false }: ErrorNoticeProps) {
  const isSaidAtTop = useOutage(error);
  if (error === null) return null;
  if (!isSaidAtTop) return <Notice kind="error">{advice(error, true)}</Notice>;
  return isAtTop ? null : <p class="hint">Not read: the reason is at the top of the page.</p>;
}

/** Why what a person asked for, once, was not done. */
export function ActionError({ error }: { readonly error: ApiError | null }) {
  return error === null ? null : <Notice kind="error">{advice(error, false)}</Notice>;
}
