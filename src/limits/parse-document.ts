import { type DocumentNode, GraphQLError, Lexer, parse, Source, type Token, TokenKind } from "graphql";
import { checkBound } from "./check-bound.ts";
import type { RequestBounds } from "./request-bounds.ts";

/**
 * Parses a document and stops where it goes over a bound. The parser calls itself for every bracket, and never does so deeper
 * than the bound on brackets.
 *
 * @param text within the bounds of {@link checkTexts}.
 * @throws AppError DOCUMENT_TOO_LARGE, DOCUMENT_TOO_DEEP or STRING_TOO_LONG; GraphQLError when it is no GraphQL.
 */
export function parseDocument(text: string, bounds: RequestBounds): DocumentNode {
  try {
    return parse(text, { lexer: new BoundedLexer(new Source(text), bounds) });
  } catch (error) {
    if (error instanceof GraphQLError) Object.assign(error.extensions, { code: "GRAPHQL_PARSE_FAILED" });
    throw error;
  }
}

const openings: ReadonlySet<TokenKind> = new Set([TokenKind.BRACE_L, TokenKind.BRACKET_L, TokenKind.PAREN_L]);
const closings: ReadonlySet<TokenKind> = new Set([TokenKind.BRACE_R, TokenKind.BRACKET_R, TokenKind.PAREN_R]);

class BoundedLexer extends Lexer {
  readonly #bounds: RequestBounds;
  #tokens = 0;
  #depth = 0;

  constructor(source: Source, bounds: RequestBounds) {
    super(source);
    this.#bounds = bounds;
  }

  override advance(): Token {
    const token = super.advance();
    const { kind, start, end } = token;
    if (kind !== TokenKind.EOF) checkBound(this.#bounds.tokens, ++this.#tokens, false);
    if (openings.has(kind)) checkBound(this.#bounds.depth, ++this.#depth, false);
    else if (closings.has(kind)) this.#depth--;
    else checkBound(kind === TokenKind.NAME ? this.#bounds.name : this.#bounds.string, end - start);
    return token;
  }
}

/**
 * Looks at the texts of documents before they are taken apart.
 *
 * @throws AppError DOCUMENT_TOO_LARGE.
 */
export function checkTexts(texts: readonly string[], bounds: RequestBounds): void {
  checkBound(
    bounds.characters,
    texts.reduce((sum, text) => sum + text.length, 0),
  );
  checkBound(
    bounds.lines,
    texts.reduce((sum, text) => sum + linesOf(text), 0),
  );
}

function linesOf(text: string): number {
  return 1 + countOf(text, "\n") + countOf(text, "\r");
}

function countOf(text: string, what: string): number {
  let count = 0;
  for (let at = text.indexOf(what); at >= 0; at = text.indexOf(what, at + 1)) count++;
  return count;
}
