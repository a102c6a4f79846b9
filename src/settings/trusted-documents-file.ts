import type { TrustedDocuments } from "../core/trusted-documents.ts";
import type { Logger } from "../runtime/logger.ts";
import { createReloadableFile, type ReloadableFile } from "../runtime/reloadable-file.ts";

/** Knows the documents in a file, and reads it again when it changes; runtime/reloadable-file.ts has the rules. */
export function createTrustedDocumentsFile(path: string, logger: Logger): ReloadableFile<TrustedDocuments> {
  return createReloadableFile<TrustedDocuments>({
    path,
    setting: "TRUSTED_DOCUMENTS_FILE",
    hint: "docs/trusted-documents.md says what makes such a file",
    maxBytes: 4_000_000,
    parse: async (text) => parseTrustedDocuments(text),
    initial: { byId: new Map(), texts: new Set() },
    logger,
    onChange: ({ byId }) => logger.info({ documents: byId.size }, "read trusted documents again"),
  });
}

/**
 * Reads a manifest: Apollo's (`{ "format": "apollo-persisted-query-manifest", "operations": [{ "id", "body" }] }`), or a map of ids to
 * documents, as GraphQL Code Generator and Relay's compiler write it.
 *
 * @throws Error that says what was expected.
 */
function parseTrustedDocuments(text: string): TrustedDocuments {
  const manifest = parseJson(text);
  const entries = isRecord(manifest) ? entriesOf(manifest) : null;
  if (entries === null || entries.length === 0)
    throw new Error("expected an Apollo manifest with operations, or an object of documents by their ids");
  const wrong = entries.findIndex(([id, body]) => !isText(id) || !isText(body));
  if (wrong >= 0) throw new Error(`document ${wrong + 1}: expected an id and a document, both texts`);
  const documents = entries as readonly (readonly [string, string])[];
  return {
    byId: new Map(documents.map(([id, body]) => [id.replace(/^sha256:/, ""), body])),
    texts: new Set(documents.map(([, body]) => body.trim())),
  };
}

function entriesOf(
  manifest: Readonly<Record<string, unknown>>,
): readonly (readonly [unknown, unknown])[] | null {
  if (manifest.format === undefined) return Object.entries(manifest);
  if (manifest.format !== "apollo-persisted-query-manifest" || !Array.isArray(manifest.operations))
    return null;
  return manifest.operations.map((operation: unknown) => {
    const { id, body } = isRecord(operation) ? operation : {};
    return [id, body];
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("expected JSON");
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}
