import { AppError, type ErrorCode } from "../core/errors.ts";

/** How much of something is let through; one more is refused. */
interface Bound {
  readonly most: number;
  readonly code: ErrorCode;
  /** What is counted, as the message says it. */
  readonly what: string;
}

export type RequestBounds = ReturnType<typeof requestBounds>;

/**
 * All bounds on what a request is made of, before it is known what it asks for. They are far from what people and their tools
 * send, and such that the worst request within them takes a core some ten milliseconds (bench/hostile-documents.ts). The
 * operations of a batch share them.
 *
 * @param listed most elements of a list in any argument: the larger one of MAX_QUEUES and MAX_EVENTS.
 */
export function requestBounds(listed: number) {
  // An event as a literal has 20 tokens, with all its fields; the rest is room for documents with no long list.
  const tokens = 2_000 + 20 * listed;
  return {
    // An event with its names at their longest takes less than 1 KB, as JSON or in a document; the rest is for the query.
    bodyBytes: 100_000 + 1_000 * listed,

    // An event as a literal has 520 characters with its names at their longest, and some are spent on indentation.
    characters: bound(20_000 + 600 * listed, "DOCUMENT_TOO_LARGE", "characters in the document"),
    // More lines than tokens are comments, or one block string of nothing, which takes long to take apart.
    lines: bound(tokens, "DOCUMENT_TOO_LARGE", "lines in the document"),
    tokens: bound(tokens, "DOCUMENT_TOO_LARGE", "tokens in the document"),
    // Brackets of any kind. A type is looked for through nine `ofType` by GraphiQL's introspection: 15 levels without a fragment.
    depth: bound(20, "DOCUMENT_TOO_DEEP", "levels of brackets in the document"),
    // A cursor of a queue's name, the longest string that means anything, has 272; what is longer by mistake gets the field's words.
    string: bound(20_000, "STRING_TOO_LONG", "characters in one string or number"),
    // Names come back in the answer, an alias once for each queue.
    name: bound(200, "STRING_TOO_LONG", "characters in one name"),
    // What is a little too long gets the field's own words.
    list: bound(2 * listed, "LIST_TOO_LONG", "elements in one list"),

    // All fields of a queue for each of the most aliases.
    fields: bound(9_800, "TOO_MANY_FIELDS", "fields"),
    // As many again for fragments that are spread more than once.
    writtenOut: bound(19_600, "TOO_MANY_FIELDS", "fields when all fragments are written out"),
    // Validation compares fields of the same name with each other, in pairs, with all that is below them. No real
    // document needs more.
    repeats: bound(20, "TOO_MANY_FIELDS", "repetitions of a field in one selection"),
    // Every alias is one more value for each queue of the answer.
    aliases: bound(200, "TOO_MANY_ALIASES", "aliases"),
    directives: bound(200, "TOO_MANY_DIRECTIVES", "directives"),
    // As above: the fields of any two of them may meet in the answer.
    fragments: bound(50, "TOO_MANY_FRAGMENTS", "fragment definitions"),
    spreads: bound(500, "TOO_MANY_FRAGMENTS", "fragment spreads"),
    // As many as a batch may have. Validation looks through all fragments for each.
    operations: bound(50, "TOO_MANY_OPERATIONS", "operations"),
    variables: bound(500, "TOO_MANY_VARIABLES", "variable definitions"),
    // An answer about the schema is large, and free. One is what a tool asks for; some ask for single types first.
    schemas: bound(1, "TOO_MUCH_INTROSPECTION", "questions for __schema"),
    types: bound(10, "TOO_MUCH_INTROSPECTION", "questions for __type"),
    // Aliases within each other multiply the answer, and no tool uses any.
    schemaAliases: bound(0, "TOO_MUCH_INTROSPECTION", "aliases inside of __schema and __type"),

    // An event has seven values: that is for seven lists of the longest.
    values: bound(2_000 + 50 * listed, "VARIABLES_TOO_LARGE", "values in the JSON"),
    // Of JSON; events need 3, and 5 in a batch.
    valueDepth: bound(20, "VARIABLES_TOO_DEEP", "levels of brackets in the JSON"),

    // A larger answer has no more use.
    errors: 5,
  } as const;
}

function bound(most: number, code: ErrorCode, what: string): Bound {
  return { most, code, what };
}

/** @throws AppError with the bound's code when there is more than it lets through. */
export function checkBound({ most, code, what }: Bound, count: number, isAll = true): void {
  if (count <= most) return;
  throw new AppError(code, `expected at most ${most} ${what}, got ${isAll ? count : "more"}`);
}
