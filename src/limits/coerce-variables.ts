import {
  type GraphQLInputField,
  type GraphQLInputObjectType,
  type GraphQLInputType,
  type GraphQLSchema,
  getVariableValues,
  isInputObjectType,
  isInputType,
  isListType,
  isNonNullType,
  isScalarType,
  type OperationDefinitionNode,
  typeFromAST,
  type VariableDefinitionNode,
} from "graphql";
import type { Variables } from "../core/admission.ts";

/**
 * As graphql's `getVariableValues` up to the first error, which for a batch of events takes several times as long: it keeps
 * account of where each value stands. Whatever is not plainly right is left to it, and to its words.
 *
 * @param deferred variables that are taken as they were sent: see {@link deferredVariables}.
 */
export function coerceVariables(
  schema: GraphQLSchema,
  { variableDefinitions = [] }: OperationDefinitionNode,
  sent: Variables,
  deferred: ReadonlySet<string> = none,
): ReturnType<typeof getVariableValues> {
  if (deferred.size === 0) return coerceAll(schema, variableDefinitions, sent);
  const isTakenAsSent = ({ variable, type }: VariableDefinitionNode) =>
    deferred.has(variable.name.value) &&
    Object.hasOwn(sent, variable.name.value) &&
    // Execution refuses null for a type that forbids it, whatever the type is.
    (sent[variable.name.value] !== null || type.kind !== "NonNullType");
  const others = variableDefinitions.filter((definition) => !isTakenAsSent(definition));
  const result = coerceAll(schema, others, sent);
  if (result.errors !== undefined) return result;
  const taken = variableDefinitions.filter(isTakenAsSent).map(({ variable }) => variable.name.value);
  return { coerced: { ...result.coerced, ...Object.fromEntries(taken.map((name) => [name, sent[name]])) } };
}

function coerceAll(
  schema: GraphQLSchema,
  variableDefinitions: readonly VariableDefinitionNode[],
  sent: Variables,
): ReturnType<typeof getVariableValues> {
  // Without a prototype, since a variable may have any name.
  const coerced: Record<string, unknown> = Object.create(null);
  for (const { variable, type: typeNode, defaultValue } of variableDefinitions) {
    const name = variable.name.value;
    const isSent = Object.hasOwn(sent, name);
    const type = typeFromAST(schema, typeNode);
    if (!isSent && defaultValue === undefined && !isNonNullType(type)) continue;
    const value = isSent && isInputType(type) ? coerceValue(sent[name], type) : unclear;
    if (value === unclear)
      return getVariableValues(schema, variableDefinitions, { ...sent }, { maxErrors: 1 });
    coerced[name] = value;
  }
  return { coerced: { ...coerced } };
}

const none: ReadonlySet<string> = new Set();
const unclear = Symbol("unclear");

function coerceValue(value: unknown, type: GraphQLInputType): unknown {
  if (isNonNullType(type)) {
    // Input objects report null themselves: see api/request-schema.ts.
    if (isScalarType(type.ofType) && type.ofType.extensions.isInputObject)
      return type.ofType.parseValue(value);
    return value === null ? unclear : coerceValue(value, type.ofType);
  }
  if (value === null) return null;
  if (isListType(type)) return Array.isArray(value) ? coerceList(value, type.ofType) : unclear;
  if (isInputObjectType(type)) return coerceObject(value, type);
  try {
    return type.parseValue(value) ?? unclear;
  } catch {
    return unclear;
  }
}

function coerceList(values: readonly unknown[], type: GraphQLInputType): unknown {
  const coerced: unknown[] = [];
  for (const each of values) {
    const value = coerceValue(each, type);
    if (value === unclear) return unclear;
    coerced.push(value);
  }
  return coerced;
}

function coerceObject(sent: unknown, type: GraphQLInputObjectType): unknown {
  if (typeof sent !== "object" || sent === null || Array.isArray(sent) || type.isOneOf) return unclear;
  const coerced: Record<string, unknown> = {};
  let known = 0;
  for (const field of fieldsOf(type)) {
    const given = (sent as Record<string, unknown>)[field.name];
    if (given === undefined) {
      if (field.defaultValue !== undefined) coerced[field.name] = field.defaultValue;
      else if (isNonNullType(field.type)) return unclear;
      continue;
    }
    const value = coerceValue(given, field.type);
    if (value === unclear) return unclear;
    coerced[field.name] = value;
    known++;
  }
  return Object.keys(sent).length === known ? coerced : unclear;
}

const knownFields = new WeakMap<GraphQLInputObjectType, readonly GraphQLInputField[]>();

/** Going through the fields as graphql keeps them would take more time than all the rest. */
function fieldsOf(type: GraphQLInputObjectType): readonly GraphQLInputField[] {
  const fields = knownFields.get(type) ?? Object.values(type.getFields());
  knownFields.set(type, fields);
  return fields;
}
