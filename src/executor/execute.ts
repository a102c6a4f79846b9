import {
  defaultFieldResolver,
  defaultTypeResolver,
  type ExecutionArgs,
  type GraphQLAbstractType,
  type GraphQLError,
  type GraphQLList,
  type GraphQLObjectType,
  type GraphQLOutputType,
  type GraphQLResolveInfo,
  getOperationAST,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
  locatedError,
  type OperationDefinitionNode,
  responsePathAsArray,
} from "graphql";
import {
  argumentsOf,
  planOf,
  type SelectedField,
  type Selection,
  type SelectionContext,
  selectionOf,
} from "./document-plan.ts";
import { createTextCache } from "./text-cache.ts";
import { isPromise, type Json, type MaybePromise, writeAll, writeInSlices } from "./write-all.ts";

/** The result of an operation. */
export interface JsonResult {
  /** `data` as JSON. */
  readonly data: string;
  /** Absent when there are none. */
  readonly errors?: readonly GraphQLError[];
}

type Path = GraphQLResolveInfo["path"];

interface Execution extends SelectionContext {
  readonly operation: OperationDefinitionNode;
  readonly rootValue: unknown;
  readonly contextValue: unknown;
  readonly errors: GraphQLError[];
}

/** Lists up to this length are written at once. */
const shortLength = 100;
/** Of objects that many answers show. */
const texts = createTextCache(1_000);

/**
 * Executes an operation as GraphQL's specification says, and as graphql's `execute` does, but for two things: it writes JSON
 * rather than objects, of which V8 would make the JSON in a second pass, and it keeps what it found out of a document. Long
 * lists are written in slices, between which the event loop turns.
 *
 * @param args the document is valid, and `variableValues` are coerced.
 */
export function execute(args: ExecutionArgs): MaybePromise<JsonResult> {
  const { schema, document, operationName, contextValue, rootValue } = args;
  const operation = getOperationAST(document, operationName);
  const type = operation == null ? undefined : schema.getRootType(operation.operation);
  if (operation == null || type == null)
    throw new Error("expected a valid document and the name of its operation");
  const errors: GraphQLError[] = [];
  const variables = args.variableValues ?? {};
  const plan = planOf(document);
  const execution = { schema, plan, variables, operation, contextValue, rootValue, errors };
  const done = (data: Json): JsonResult =>
    errors.length === 0 ? { data: data ?? "null" } : { data: data ?? "null", errors };
  const fail = (error: unknown) => {
    errors.push(error as GraphQLError);
    return done(null);
  };
  try {
    const selection = selectionOf(execution, operation.selectionSet, [operation], type);
    const data =
      operation.operation === "mutation"
        ? writeInTurn(execution, type, rootValue, selection)
        : writeFields(execution, type, rootValue, selection, undefined);
    return isPromise(data) ? data.then(done, fail) : done(data);
  } catch (error) {
    return fail(error);
  }
}

/** The fields of a mutation, one after the other. */
async function writeInTurn(
  execution: Execution,
  type: GraphQLObjectType,
  source: unknown,
  { fields }: Selection,
): Promise<string> {
  const texts: string[] = [];
  for (const field of fields)
    texts.push(member(field, await writeField(execution, type, source, field, undefined)));
  return `{${texts.join(",")}}`;
}

function writeFields(
  execution: Execution,
  type: GraphQLObjectType,
  source: unknown,
  { fields }: Selection,
  path: Path | undefined,
): MaybePromise<string> {
  const values = writeAll(fields.length, (i) =>
    writeField(execution, type, source, fields[i] as SelectedField, path),
  );
  return isPromise(values) ? values.then((all) => objectOf(fields, all)) : objectOf(fields, values);
}

function objectOf(fields: readonly SelectedField[], values: readonly Json[]): string {
  // Joined, so that it is one piece in memory: it is copied for each answer that shows the object.
  return `{${fields.map((field, i) => member(field, values[i] as Json)).join(",")}}`;
}

function member({ name }: SelectedField, value: Json): string {
  return `"${name}":${value ?? "null"}`;
}

function writeField(
  execution: Execution,
  parentType: GraphQLObjectType,
  source: unknown,
  field: SelectedField,
  parentPath: Path | undefined,
): MaybePromise<Json> {
  const { definition, nodes } = field;
  const { schema, plan, variables, operation, contextValue, rootValue } = execution;
  const path: Path = { prev: parentPath, key: field.name, typename: parentType.name };
  const fail = (error: unknown) =>
    failed(execution, definition.type, locatedError(error, nodes, responsePathAsArray(path)));
  try {
    const args = argumentsOf(field, variables);
    const info: GraphQLResolveInfo = {
      fieldName: definition.name,
      fieldNodes: nodes,
      returnType: definition.type,
      parentType,
      path,
      schema,
      fragments: plan.fragments,
      rootValue,
      operation,
      variableValues: variables,
    };
    const result = (definition.resolve ?? defaultFieldResolver)(source, args, contextValue, info);
    const value = isPromise(result)
      ? result.then((resolved) => write(execution, definition.type, info, path, resolved))
      : write(execution, definition.type, info, path, result);
    return isPromise(value) ? value.catch(fail) : value;
  } catch (error) {
    return fail(error);
  }
}

/** @throws the error where null is forbidden, so that the next value above is null that may be. */
function failed({ errors }: Execution, type: GraphQLOutputType, error: GraphQLError): null {
  if (isNonNullType(type)) throw error;
  errors.push(error);
  return null;
}

function write(
  execution: Execution,
  type: GraphQLOutputType,
  info: GraphQLResolveInfo,
  path: Path,
  value: unknown,
): MaybePromise<Json> {
  if (value instanceof Error) throw value;
  if (isNonNullType(type)) {
    const written = write(execution, type.ofType, info, path, value);
    return isPromise(written) ? written.then((json) => notNull(json, info)) : notNull(written, info);
  }
  if (value === null || value === undefined) return null;
  if (isLeafType(type)) {
    const serialized = type.serialize(value);
    if (serialized == null)
      throw new Error(`expected ${type.name} to serialize a value, got ${String(serialized)}`);
    return typeof serialized === "number" ? String(serialized) : JSON.stringify(serialized);
  }
  if (isListType(type)) return writeList(execution, type, info, path, value);
  if (isObjectType(type)) return writeObject(execution, type, info, path, value);
  const name = (type.resolveType ?? defaultTypeResolver)(value, execution.contextValue, info, type);
  if (isPromise(name))
    return name.then((known) =>
      writeObject(execution, runtimeType(execution, type, known), info, path, value),
    );
  return writeObject(execution, runtimeType(execution, type, name), info, path, value);
}

function notNull(json: Json, { parentType, fieldName }: GraphQLResolveInfo): string {
  if (json === null)
    throw new Error(`Cannot return null for non-nullable field ${parentType.name}.${fieldName}.`);
  return json;
}

function writeList(
  execution: Execution,
  { ofType }: GraphQLList<GraphQLOutputType>,
  info: GraphQLResolveInfo,
  path: Path,
  list: unknown,
): MaybePromise<string> {
  if (!isIterable(list)) throw new Error(`expected a list for ${info.parentType.name}.${info.fieldName}`);
  const items = Array.isArray(list) ? list : [...list];

  function writeItem(index: number): MaybePromise<Json> {
    const itemPath: Path = { prev: path, key: index, typename: undefined };
    const fail = (error: unknown) =>
      failed(execution, ofType, locatedError(error, info.fieldNodes, responsePathAsArray(itemPath)));
    try {
      const item: unknown = items[index];
      const value = isPromise(item)
        ? item.then((resolved) => write(execution, ofType, info, itemPath, resolved))
        : write(execution, ofType, info, itemPath, item);
      return isPromise(value) ? value.catch(fail) : value;
    } catch (error) {
      return fail(error);
    }
  }

  const values =
    items.length > shortLength ? writeInSlices(items.length, writeItem) : writeAll(items.length, writeItem);
  return isPromise(values) ? values.then(arrayOf) : arrayOf(values);
}

function arrayOf(values: readonly Json[]): string {
  return `[${values.map((value) => value ?? "null").join(",")}]`;
}

function writeObject(
  execution: Execution,
  type: GraphQLObjectType,
  info: GraphQLResolveInfo,
  path: Path,
  source: unknown,
): MaybePromise<string> {
  const selection = selectionOf(execution, info.fieldNodes, info.fieldNodes, type);
  const { textKey } = selection;
  if (textKey === null) return writeFields(execution, type, source, selection, path);
  const known = texts.get(source as object, textKey);
  if (known !== undefined) return known;
  const errorsBefore = execution.errors.length;
  const text = writeFields(execution, type, source, selection, path);
  if (typeof text === "string" && execution.errors.length === errorsBefore) {
    texts.set(source as object, textKey, text);
  }
  return text;
}

function runtimeType(
  { schema }: Execution,
  type: GraphQLAbstractType,
  name: string | undefined,
): GraphQLObjectType {
  const found = name === undefined ? undefined : schema.getType(name);
  if (!isObjectType(found) || !schema.isSubType(type, found))
    throw new Error(`expected the name of a type of ${type.name}, got ${name}`);
  return found;
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.iterator in value;
}
