import type { Variables } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";

/** The parameters of one operation, of the right types. */
export interface OperationParams {
  readonly query: string;
  readonly operationName: string | null;
  readonly variables: Variables;
  /** The hash or id of the document; null: none came. */
  readonly documentId: string | null;
}

const names = ["query", "operationName", "variables", "extensions", "documentId", "doc_id", "id"] as const;

/**
 * Checks the types of what a client sent as the parameters of one operation.
 *
 * @throws AppError BAD_REQUEST; PERSISTED_QUERY_NOT_FOUND when only the hash of a document came.
 */
export function operationParams(sent: unknown): OperationParams {
  if (!isRecord(sent)) throw badRequest(`expected an object with a query, got ${typeOf(sent)}`);
  const unknownName = Object.keys(sent).find((name) => sent[name] != null && !isName(name));
  if (unknownName !== undefined) {
    throw badRequest(`unexpected parameter "${unknownName}"; allowed are ${names.join(", ")}`);
  }
  const { query, operationName, variables, extensions } = sent;
  if (extensions != null && !isRecord(extensions)) throw wrongType("extensions", "an object", extensions);
  if (query == null || query === "") {
    // In the words that Apollo's and urql's persisted query links know: they send the document then.
    if (documentIdOf(sent) !== null)
      throw new AppError("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound");
    throw badRequest('no query; send { "query": "…" } as JSON by POST, or ?query=… by GET');
  }
  if (typeof query !== "string") throw wrongType("query", "a string", query);
  if (operationName != null && typeof operationName !== "string") {
    throw wrongType("operationName", "a string", operationName);
  }
  if (variables != null && !isRecord(variables)) throw wrongType("variables", "an object", variables);
  const documentId = documentIdOf(sent);
  return { query, operationName: operationName ?? null, variables: variables ?? {}, documentId };
}

/** Longer ones are none: a hash has 64 characters. */
const maxIdCharacters = 200;

/**
 * The hash or id of a document: in extensions as Apollo, urql and GraphQL Code Generator send it, as `documentId` of GraphQL over HTTP, or as
 * Relay's `doc_id` or `id`. Null when none came.
 */
export function documentIdOf(sent: unknown): string | null {
  if (!isRecord(sent)) return null;
  const { extensions, documentId, doc_id, id } = sent;
  const persisted = isRecord(extensions) ? extensions.persistedQuery : null;
  const found = isRecord(persisted) ? persisted.sha256Hash : (documentId ?? doc_id ?? id);
  if (typeof found !== "string" || found === "" || found.length > maxIdCharacters) return null;
  return found.replace(/^sha256:/, "");
}

function isName(name: string): boolean {
  return (names as readonly string[]).includes(name);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function wrongType(name: string, expected: string, got: unknown): AppError {
  return badRequest(`expected ${name} to be ${expected}, got ${typeOf(got)}`);
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function badRequest(message: string): AppError {
  return new AppError("BAD_REQUEST", message);
}
