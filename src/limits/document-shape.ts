import { type DocumentNode, type SelectionSetNode, visit } from "graphql";

/** What there is in a document, counted as it is written: nothing is looked up, and no fragment is followed. */
export interface DocumentShape {
  readonly tokens: number;
  readonly operations: number;
  readonly variables: number;
  readonly fragments: number;
  readonly fields: number;
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
  repeats: 0,
  aliases: 0,
  directives: 0,
  spreads: 0,
  schemas: 0,
  types: 0,
  schemaAliases: 0,
  list: 0,
};

/**
 * Counts in one pass that does not recurse; the document need not be valid.
 *
 * @param before what was counted in other documents, to be added.
 */
export function shapeOf(document: DocumentNode, before: DocumentShape = nothing): DocumentShape {
  const shape = { ...before, tokens: before.tokens + (document.tokenCount ?? 0) };
  /** How many of the nodes that we are in are about the schema. */
  let inSchema = 0;

  visit(document, {
    OperationDefinition() {
      shape.operations++;
    },
    VariableDefinition() {
      shape.variables++;
    },
    Directive() {
      shape.directives++;
    },
    FragmentSpread() {
      shape.spreads++;
    },
    ListValue({ values }) {
      shape.list = Math.max(shape.list, values.length);
    },
    SelectionSet(node, _key, parent) {
      const isInline = parent !== undefined && "kind" in parent && parent.kind === "InlineFragment";
      if (!isInline) shape.repeats += repeatsIn(node);
    },
    Field: {
      enter({ name, alias }) {
        shape.fields++;
        if (alias !== undefined) {
          shape.aliases++;
          if (inSchema > 0) shape.schemaAliases++;
        }
        if (name.value === "__schema") shape.schemas++;
        if (name.value === "__type") shape.types++;
        if (isOfSchema(name.value)) inSchema++;
      },
      leave({ name }) {
        if (isOfSchema(name.value)) inSchema--;
      },
    },
    FragmentDefinition: {
      enter({ typeCondition }) {
        shape.fragments++;
        if (isReserved(typeCondition.name.value)) inSchema++;
      },
      leave({ typeCondition }) {
        if (isReserved(typeCondition.name.value)) inSchema--;
      },
    },
  });
  return shape;
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
