import { hash } from "node:crypto";
import { AppError } from "../core/errors.ts";
import type { TrustedDocuments } from "../core/trusted-documents.ts";
import { createTextKeyedCache } from "../runtime/text-keyed-cache.ts";
import { documentIdOf } from "./request-params.ts";

/** Documents that clients name by a hash, instead of sending them each time. */
export interface PersistedDocuments {
  /** Another one when other documents may run: what was read before must be read again. */
  version(): unknown;
  /** The parameters of an operation, unchecked, with the text of the document that they name, if it is known. */
  withText(sent: unknown): unknown;
  /**
   * Whether a document may run; called with parameters of the right types.
   *
   * @throws AppError UNTRUSTED_DOCUMENT; BAD_REQUEST when the text is not that of its hash.
   */
  assertAllowed(query: string, documentId: string | null): void;
  /** Keeps a valid document that came with its hash. */
  keep(query: string, documentId: string): void;
}

/** What is kept for clients: an entry of theirs that was dropped only makes them send the document once more. */
const maxCharacters = 2_000_000;
const maxDocumentCharacters = 100_000;

/**
 * Automatic persisted queries, as Apollo's and urql's links send them: a hash alone is answered with PERSISTED_QUERY_NOT_FOUND until the
 * document has come with it. A named document is bounded, priced and checked as if it were sent.
 *
 * @param trusted the only documents that may run, beside those of the server's own pages; null: all may.
 */
export function createPersistedDocuments(
  trusted: (() => TrustedDocuments) | null,
  isOwnDocument: (query: string) => boolean = () => false,
): PersistedDocuments {
  const kept = createTextKeyedCache<string>({ maxCharacters, sizeOf: (text) => text.length });

  function assertTrusted(query: string): void {
    if (trusted === null || trusted().texts.has(query.trim()) || isOwnDocument(query)) return;
    throw new AppError(
      "UNTRUSTED_DOCUMENT",
      "this server runs only the documents of its clients; the operator adds others to TRUSTED_DOCUMENTS_FILE",
    );
  }

  return {
    version: () => trusted?.() ?? null,
    withText(sent) {
      const id = documentIdOf(sent);
      if (id === null || hasQuery(sent)) return sent;
      const query = trusted === null ? kept.get(id) : trusted().byId.get(id);
      return query === undefined ? sent : { ...(sent as object), query };
    },
    assertAllowed(query, documentId) {
      assertTrusted(query);
      if (documentId === null || trusted !== null || kept.get(documentId) === query) return;
      if (hash("sha256", query) !== documentId)
        throw new AppError(
          "BAD_REQUEST",
          "provided sha does not match query: expected its SHA-256, in hexadecimal",
        );
    },
    keep(query, documentId) {
      if (trusted === null && query.length <= maxDocumentCharacters) kept.set(documentId, query);
    },
  };
}

/** Whether the text of the document was sent. */
function hasQuery(sent: unknown): boolean {
  const { query } = sent as { readonly query?: unknown };
  return query != null && query !== "";
}
