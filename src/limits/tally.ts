import { getMappedArgumentValues } from "@pothos/core";
import {
  type DocumentNode,
  type FieldNode,
  GraphQLError,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  getNullableType,
  isCompositeType,
  isInterfaceType,
  isListType,
  isObjectType,
  type OperationDefinitionNode,
  SchemaMetaFieldDef,
  type SelectionNode,
  type SelectionSetNode,
  TypeMetaFieldDef,
  TypeNameMetaFieldDef,
} from "graphql";
import type { Variables } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import { isSkipped } from "../runtime/is-skipped.ts";
import type { DeclaredCost, FieldCost } from "./field-cost.ts";

/** What a selection adds up to, written out: over aliases, fragments, and the elements of lists. */
export interface Tally {
  /** Points that its fields declare. */
  readonly points: number;
  /** Those of them that no field around multiplies. */
  readonly pointsOnce: number;
  /** Those of the points that are for recording events. */
  readonly recordPoints: number;
  readonly events: number;
  /** The usual size of an answer with as many elements as it may have. */
  readonly bytes: number;
  /** The same with every text as long as it may be. */
  readonly maxBytes: number;
  /** Fields at its root, without `__typename` and the like. */
  readonly fields: number;
  /** Fields whose cost depends on the time. */
  readonly timed: number;
}

export interface TallyOptions {
  readonly schema: GraphQLSchema;
  /** Handed to the fields' own calculations, which also check their arguments. */
  readonly context: object;
  /** As resolvers get them. */
  readonly variables: Variables;
  /**
   * A field whose arguments cannot be evaluated costs nothing, instead of an error: for a document that is not valid, or whose
   * variables are not known. The result is then the least that it may add up to.
   */
  readonly isLenient?: boolean;
}

const nothing: Tally = {
  points: 0,
  pointsOnce: 0,
  recordPoints: 0,
  events: 0,
  bytes: 0,
  maxBytes: 0,
  fields: 0,
  timed: 0,
};

/** A value and its punctuation: most are numbers, times, enums and short names. */
const valueBytes = 20;
/** The punctuation of a field beside its name: quotes, colon, comma. */
const nameBytes = 4;
/** Elements of a list that declares nothing. */
const defaultItems = 8;
/** Of the schema's own lists; `ofType` hardly ever goes as deep as it is asked for. */
const schemaItems: Readonly<Record<string, number>> = { types: 50, fields: 3, args: 0.5, ofType: 0.2 };

/**
 * Adds up an operation in one pass: each fragment is looked at once, so fragments that spread each other many times over take
 * no longer than others. Needs no valid document: what is not in the schema counts as nothing.
 *
 * @throws AppError, GraphQLError what a field says of its arguments, unless it is lenient.
 */
export function tallyOf(
  document: DocumentNode,
  operation: OperationDefinitionNode,
  { schema, context, variables, isLenient = false }: TallyOptions,
): Tally {
  const fragments = new Map(
    document.definitions.flatMap((each) =>
      each.kind === "FragmentDefinition" ? [[each.name.value, each] as const] : [],
    ),
  );
  /** Of fragments, by their name and how many elements their lists have. */
  const known = new Map<string, Tally>();
  const fieldContext = { ...context, operation: operation.operation };
  const queryType = schema.getQueryType();

  /** @param listItems elements of lists that do not declare any; undefined: the usual number. */
  function ofSelections({ selections }: SelectionSetNode, type: GraphQLNamedType, listItems?: number): Tally {
    const sum: { -readonly [K in keyof Tally]: number } = { ...nothing };
    for (const selection of selections) {
      if (isLeftOut(selection)) continue;
      const each =
        selection.kind === "Field"
          ? ofField(selection, type, listItems)
          : selection.kind === "InlineFragment"
            ? ofSelections(
                selection.selectionSet,
                typeOn(selection.typeCondition?.name.value) ?? type,
                listItems,
              )
            : ofFragment(selection.name.value, listItems);
      // Not in a loop over the names: this is most of the time of a document with many spreads.
      sum.points += each.points;
      sum.pointsOnce += each.pointsOnce;
      sum.recordPoints += each.recordPoints;
      sum.events += each.events;
      sum.bytes += each.bytes;
      sum.maxBytes += each.maxBytes;
      sum.fields += each.fields;
      sum.timed += each.timed;
    }
    return sum;
  }

  function ofFragment(name: string, listItems?: number): Tally {
    const fragment = fragments.get(name);
    const type = typeOn(fragment?.typeCondition.name.value);
    if (fragment === undefined || type === undefined) return nothing;
    const key = `${name} ${listItems}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    // A cycle, which is not valid, ends here.
    known.set(key, nothing);
    const tally = ofSelections(fragment.selectionSet, type, listItems);
    known.set(key, tally);
    return tally;
  }

  function ofField(node: FieldNode, type: GraphQLNamedType, listItems?: number): Tally {
    const name = node.name.value;
    const ownBytes = (node.alias ?? node.name).value.length + nameBytes;
    if (name === TypeNameMetaFieldDef.name) {
      return { ...nothing, bytes: ownBytes + valueBytes, maxBytes: ownBytes + valueBytes };
    }
    const field = fieldOf(name, type);
    if (field === undefined) return nothing;
    const cost = costOf(field, node);
    if (cost === null) return nothing;

    const below = getNamedType(field.type);
    const child =
      node.selectionSet === undefined || !isCompositeType(below)
        ? { ...nothing, bytes: valueBytes, maxBytes: cost.bytes ?? valueBytes }
        : // A list in the result of recording has an element for each event at most.
          ofSelections(node.selectionSet, below, isLenient ? undefined : cost.events);
    const isList = isListType(getNullableType(field.type));
    const { field: own = 0, once = 0, multiplier = 1, events = 0 } = cost;
    const items =
      cost.items ??
      (isList ? listItems : undefined) ??
      (isOfSchema(type) ? schemaItems[name] : isList ? defaultItems : 1) ??
      1;
    const pointsOnce = once + child.pointsOnce;
    const points = own + pointsOnce + multiplier * (child.points - child.pointsOnce);
    return {
      points,
      pointsOnce,
      recordPoints: cost.events === undefined ? 0 : points,
      events,
      bytes: ownBytes + items * (child.bytes + 2),
      maxBytes: ownBytes + items * (child.maxBytes + 2),
      fields: name.startsWith("__") ? 0 : 1,
      timed: child.timed + (cost.isTimed === true ? 1 : 0),
    };
  }

  function fieldOf(name: string, type: GraphQLNamedType): GraphQLField<unknown, unknown> | undefined {
    if (type === queryType && name === SchemaMetaFieldDef.name) return SchemaMetaFieldDef;
    if (type === queryType && name === TypeMetaFieldDef.name) return TypeMetaFieldDef;
    return isObjectType(type) || isInterfaceType(type) ? type.getFields()[name] : undefined;
  }

  /** Null when it cannot be computed. */
  function costOf(field: GraphQLField<unknown, unknown>, node: FieldNode): FieldCost | null {
    const declared = field.extensions.complexity;
    if (typeof declared !== "function") return asCost(declared as DeclaredCost | undefined);
    try {
      const args = getMappedArgumentValues(field, node, fieldContext, {
        schema,
        variableValues: variables,
      } as never);
      return asCost(declared(args, fieldContext, field) as DeclaredCost);
    } catch (error) {
      if (isLenient && (error instanceof GraphQLError || error instanceof AppError)) return null;
      throw error;
    }
  }

  function isLeftOut(selection: SelectionNode): boolean {
    try {
      return isSkipped(selection, variables);
    } catch (error) {
      if (isLenient && error instanceof GraphQLError) return true;
      throw error;
    }
  }

  function typeOn(name: string | undefined): GraphQLNamedType | undefined {
    return name === undefined ? undefined : schema.getType(name);
  }

  const root = schema.getRootType(operation.operation);
  return root == null ? nothing : ofSelections(operation.selectionSet, root);
}

function asCost(declared: DeclaredCost | undefined): FieldCost {
  return typeof declared === "object" ? declared : { field: declared ?? 0 };
}

function isOfSchema({ name }: GraphQLNamedType): boolean {
  return name.startsWith("__");
}
