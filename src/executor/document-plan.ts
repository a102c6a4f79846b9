import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLField,
  type GraphQLObjectType,
  type GraphQLSchema,
  getArgumentValues,
  getNamedType,
  isAbstractType,
  isLeafType,
  SchemaMetaFieldDef,
  type SelectionSetNode,
  TypeMetaFieldDef,
  TypeNameMetaFieldDef,
  type ValueNode,
} from "graphql";
import type { Variables } from "../core/admission.ts";
import { isSkipped } from "../runtime/is-skipped.ts";

/** What was found out of a document while it was executed. */
export interface DocumentPlan {
  readonly fragments: Readonly<Record<string, FragmentDefinitionNode>>;
  /** By the nodes whose selection sets are merged, and the type of the object. */
  readonly selections: WeakMap<object, Map<GraphQLObjectType, Selection>>;
}

/** The fields that are selected of an object. */
export interface Selection {
  readonly fields: readonly SelectedField[];
  /** Documents with the same key select the same of an object, whose JSON can be kept by it; null: it depends on more. */
  readonly textKey: string | null;
}

export interface SelectedField {
  /** Its name in the result. */
  readonly name: string;
  readonly definition: GraphQLField<unknown, unknown>;
  readonly nodes: readonly [FieldNode, ...FieldNode[]];
}

const plans = new WeakMap<DocumentNode, DocumentPlan>();

/** The same plan for as long as the document is kept, unless what is selected depends on variables: then a new one. */
export function planOf(document: DocumentNode): DocumentPlan {
  const known = plans.get(document);
  if (known !== undefined) return known;
  const fragments = Object.create(null) as Record<string, FragmentDefinitionNode>;
  for (const each of document.definitions) {
    if (each.kind === "FragmentDefinition") fragments[each.name.value] = each;
  }
  const plan: DocumentPlan = { fragments, selections: new WeakMap() };
  const isConditional = document.definitions.some(
    (each) => "selectionSet" in each && hasDirective(each.selectionSet),
  );
  if (!isConditional) plans.set(document, plan);
  return plan;
}

function hasDirective({ selections }: SelectionSetNode): boolean {
  return selections.some(
    (each) =>
      (each.directives?.length ?? 0) > 0 ||
      (each.kind !== "FragmentSpread" && each.selectionSet !== undefined && hasDirective(each.selectionSet)),
  );
}

/**
 * The fields that are selected of an object, merged by their names in the result, as GraphQL's CollectFields does.
 *
 * @param key the same for the same nodes.
 * @throws GraphQLError when the condition of a `@skip` or `@include` is null.
 */
export function selectionOf(
  { schema, plan, variables }: SelectionContext,
  key: object,
  nodes: readonly { readonly selectionSet?: SelectionSetNode | undefined }[],
  type: GraphQLObjectType,
): Selection {
  const ofNodes = plan.selections.get(key) ?? new Map<GraphQLObjectType, Selection>();
  const known = ofNodes.get(type);
  if (known !== undefined) return known;
  const nodesByName = new Map<string, [FieldNode, ...FieldNode[]]>();
  const visited = new Set<string>();

  function collect({ selections }: SelectionSetNode): void {
    for (const selection of selections) {
      if (isSkipped(selection, variables)) continue;
      if (selection.kind === "Field") {
        const name = (selection.alias ?? selection.name).value;
        const before = nodesByName.get(name);
        if (before === undefined) nodesByName.set(name, [selection]);
        else before.push(selection);
      } else if (selection.kind === "InlineFragment") {
        if (applies(selection.typeCondition?.name.value)) collect(selection.selectionSet);
      } else if (!visited.has(selection.name.value)) {
        visited.add(selection.name.value);
        const fragment = plan.fragments[selection.name.value];
        if (fragment !== undefined && applies(fragment.typeCondition.name.value))
          collect(fragment.selectionSet);
      }
    }
  }

  function applies(condition: string | undefined): boolean {
    if (condition === undefined || condition === type.name) return true;
    const conditionType = schema.getType(condition);
    return isAbstractType(conditionType) && schema.isSubType(conditionType, type);
  }

  for (const { selectionSet } of nodes) if (selectionSet !== undefined) collect(selectionSet);
  const fields = [...nodesByName].flatMap(([name, fieldNodes]) => {
    const definition = definitionOf(schema, type, fieldNodes[0].name.value);
    return definition === undefined ? [] : [{ name, definition, nodes: fieldNodes }];
  });
  const selection = { fields, textKey: textKeyOf(type, fields) };
  plan.selections.set(key, ofNodes.set(type, selection));
  return selection;
}

const noArguments: Readonly<Record<string, unknown>> = Object.freeze({});
/** By the nodes of a field. */
const constantArguments = new WeakMap<readonly FieldNode[], Readonly<Record<string, unknown>>>();

/** @throws GraphQLError when a variable is null for an argument that must not be. */
export function argumentsOf(
  { definition, nodes }: SelectedField,
  variables: Variables,
): Readonly<Record<string, unknown>> {
  if (definition.args.length === 0) return noArguments;
  const known = constantArguments.get(nodes);
  if (known !== undefined) return known;
  const [node] = nodes;
  const args = getArgumentValues(definition, node, variables);
  if (node.arguments?.some(({ value }) => hasVariable(value)) !== true) constantArguments.set(nodes, args);
  return args;
}

function hasVariable(value: ValueNode): boolean {
  if (value.kind === "ListValue") return value.values.some(hasVariable);
  if (value.kind === "ObjectValue") return value.fields.some((field) => hasVariable(field.value));
  return value.kind === "Variable";
}

export interface SelectionContext {
  readonly schema: GraphQLSchema;
  readonly plan: DocumentPlan;
  readonly variables: Variables;
}

function definitionOf(
  schema: GraphQLSchema,
  type: GraphQLObjectType,
  name: string,
): GraphQLField<unknown, unknown> | undefined {
  if (name === TypeNameMetaFieldDef.name) return TypeNameMetaFieldDef;
  if (type === schema.getQueryType()) {
    if (name === SchemaMetaFieldDef.name) return SchemaMetaFieldDef;
    if (name === TypeMetaFieldDef.name) return TypeMetaFieldDef;
  }
  return type.getFields()[name];
}

/**
 * What JSON of an object depends on beside the object; null when it is more than the type and the fields. Where a type says that its
 * objects do not change (`isImmutable`), that is so of leaf fields without arguments, unless they say `readsContext`.
 */
function textKeyOf(type: GraphQLObjectType, fields: readonly SelectedField[]): string | null {
  const isOfObjectAlone = ({ definition: { args, type: fieldType, extensions } }: SelectedField) =>
    args.length === 0 && isLeafType(getNamedType(fieldType)) && extensions.readsContext !== true;
  if (type.extensions.isImmutable !== true || !fields.every(isOfObjectAlone)) return null;
  return `${type.name} ${fields.map(({ name, definition }) => `${name}:${definition.name}`).join(" ")}`;
}
