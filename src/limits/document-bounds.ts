import {
  type ASTNode,
  type DocumentNode,
  GraphQLError,
  Lexer,
  parse,
  type SelectionSetNode,
  Source,
  type Token,
  TokenKind,
} from "graphql";
import { checkBound, type RequestBounds } from "./request-bounds.ts";

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

/** @throws AppError what there is too much of, of all that is counted as it is written. */
export function checkShape({ writtenOut: _, ...shape }: DocumentShape, bounds: RequestBounds): void {
  for (const name of Object.keys(shape) as (keyof typeof shape)[]) checkBound(bounds[name], shape[name]);
}

/** What there is in a document, counted as it is written: nothing is looked up, and no fragment is followed. */
export interface DocumentShape {
  readonly tokens: number;
  readonly operations: number;
  readonly variables: number;
  readonly fragments: number;
  readonly fields: number;
  /** Fields when each fragment is written out wherever it is spread: what validation compares, and what is executed at worst. */
  readonly writtenOut: number;
  /** Fields that a selection names again, with the same name in the answer. Inline fragments belong to the selection. */
  readonly repeats: number;
  readonly aliases: number;
  readonly directives: number;
  readonly spreads: number;
  /** Of `__schema`, of `__type`, and of aliases in what is selected below them. */
  readonly schemas: number;
  readonly types: number;
  readonly schemaAliases: number;
  /** Length of the longest list. */
  readonly list: number;
}

const nothing: DocumentShape = {
  tokens: 0,
  operations: 0,
  variables: 0,
  fragments: 0,
  fields: 0,
  writtenOut: 0,
  repeats: 0,
  aliases: 0,
  directives: 0,
  spreads: 0,
  schemas: 0,
  types: 0,
  schemaAliases: 0,
  list: 0,
};

/** Documents are kept and asked for again; what there is in them stays. */
const known = new WeakMap<DocumentNode, DocumentShape>();

/**
 * Counts in one pass that does not recurse; the document need not be valid.
 *
 * @param before what was counted in other documents, to be added.
 */
export function shapeOf(document: DocumentNode, before: DocumentShape = nothing): DocumentShape {
  const shape = known.get(document) ?? counted(document);
  known.set(document, shape);
  if (before === nothing) return shape;
  const both = { ...shape };
  for (const name of Object.keys(both) as (keyof DocumentShape)[]) both[name] += before[name];
  return { ...both, list: Math.max(before.list, shape.list) };
}

/** Several times as fast as graphql's `visit`, for documents that are long and refused. */
function counted(document: DocumentNode): DocumentShape {
  const shape = { ...nothing, tokens: document.tokenCount ?? 0 };
  const pending: { readonly node: ASTNode; readonly isInSchema: boolean }[] = [
    { node: document, isInSchema: false },
  ];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { node } = next;
    let { isInSchema } = next;
    switch (node.kind) {
      case "OperationDefinition":
        shape.operations++;
        shape.repeats += repeatsIn(node.selectionSet);
        break;
      case "FragmentDefinition":
        shape.fragments++;
        shape.repeats += repeatsIn(node.selectionSet);
        isInSchema ||= isReserved(node.typeCondition.name.value);
        break;
      case "Field":
        shape.fields++;
        if (node.alias !== undefined) {
          shape.aliases++;
          if (isInSchema) shape.schemaAliases++;
        }
        if (node.name.value === "__schema") shape.schemas++;
        if (node.name.value === "__type") shape.types++;
        if (node.selectionSet !== undefined) shape.repeats += repeatsIn(node.selectionSet);
        isInSchema ||= isOfSchema(node.name.value);
        break;
      case "VariableDefinition":
        shape.variables++;
        break;
      case "Directive":
        shape.directives++;
        break;
      case "FragmentSpread":
        shape.spreads++;
        break;
      case "ListValue":
        shape.list = Math.max(shape.list, node.values.length);
        break;
    }
    for (const key in node) {
      // Names have nothing in them, and tokens are no nodes.
      if (key === "loc" || key === "name" || key === "alias") continue;
      const below: unknown = node[key as keyof ASTNode];
      if (typeof below !== "object") continue;
      const parts = (Array.isArray(below) ? below : [below]) as readonly ASTNode[];
      for (const part of parts) pending.push({ node: part, isInSchema });
    }
  }
  return { ...shape, writtenOut: shape.spreads === 0 ? shape.fields : writtenOutFields(document) };
}

/** In one pass: each fragment is counted once, however often it is spread. A cycle, which is not valid, ends where it began. */
function writtenOutFields({ definitions }: DocumentNode): number {
  const fragments = new Map<string, SelectionSetNode>();
  for (const each of definitions) {
    if (each.kind === "FragmentDefinition") fragments.set(each.name.value, each.selectionSet);
  }
  const known = new Map<string, number>();

  function ofFragment(name: string): number {
    const selectionSet = fragments.get(name);
    const before = known.get(name);
    if (before !== undefined || selectionSet === undefined) return before ?? 0;
    known.set(name, 0);
    const fields = ofSelections(selectionSet);
    known.set(name, fields);
    return fields;
  }

  function ofSelections({ selections }: SelectionSetNode): number {
    let fields = 0;
    for (const selection of selections) {
      if (selection.kind === "FragmentSpread") fields += ofFragment(selection.name.value);
      else {
        if (selection.kind === "Field") fields++;
        if (selection.selectionSet !== undefined) fields += ofSelections(selection.selectionSet);
      }
    }
    return fields;
  }

  let fields = 0;
  for (const each of definitions) {
    if (each.kind === "OperationDefinition") fields += ofSelections(each.selectionSet);
    if (each.kind === "FragmentDefinition") ofFragment(each.name.value);
  }
  return fields;
}

function repeatsIn(selectionSet: SelectionSetNode): number {
  const names = new Set<string>();
  let fields = 0;
  const pending = [selectionSet];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const selection of next.selections) {
      if (selection.kind === "InlineFragment") pending.push(selection.selectionSet);
      if (selection.kind !== "Field") continue;
      fields++;
      names.add((selection.alias ?? selection.name).value);
    }
  }
  return fields - names.size;
}

function isOfSchema(fieldName: string): boolean {
  return fieldName === "__schema" || fieldName === "__type";
}

/** Names of the schema of schemas begin so, and no others do. */
function isReserved(name: string): boolean {
  return name.startsWith("__");
}
