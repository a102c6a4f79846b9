/** Parameters of one operation as the client sent them, not checked yet. */
export interface SentParams {
  readonly query?: unknown;
  readonly operationName?: unknown;
  readonly variables?: unknown;
  readonly extensions?: unknown;
}

/**
 * Bounds what a request may be made of, each time before the step that it would make expensive. What is over a bound is refused by
 * an AppError with a code of its own that says the bound, and never what was sent. `Document` is GraphQL's own type for it.
 */
export interface RequestGuard<Document> {
  readonly maxBodyBytes: number;
  /** Most errors in one answer. */
  readonly maxErrors: number;
  /** Whether the schema may be asked for. */
  readonly introspection: boolean;
  /**
   * Looks at JSON before it is parsed.
   *
   * @throws AppError VARIABLES_TOO_LARGE or VARIABLES_TOO_DEEP.
   */
  checkJson(text: string): void;
  /**
   * `JSON.parse` for text from outside; not for one that is small.
   *
   * @throws AppError VARIABLES_TOO_LARGE or VARIABLES_TOO_DEEP, before anything is built; SyntaxError when it is no JSON.
   */
  parseJson(text: string): unknown;
  /**
   * Parses a document that a request began with, token by token within the bounds.
   *
   * @throws AppError DOCUMENT_TOO_LARGE, DOCUMENT_TOO_DEEP or STRING_TOO_LONG; GraphQLError when it is no GraphQL.
   */
  parse(source: string): Document;
  /**
   * Looks at the sizes of what was sent, and then at the documents as they are parsed, one by one: the operations of a request
   * share the bounds.
   *
   * @throws AppError what is too much.
   */
  begin(batch: readonly (SentParams | null)[]): RequestBudget<Document>;
}

export interface RequestBudget<Document> {
  /** @throws AppError what there is too much of in this document and those before it. */
  spend(document: Document): void;
}
