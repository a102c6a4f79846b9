import {
  type DocumentNode,
  type GraphQLSchema,
  getNamedType,
  type ObjectValueNode,
  TypeInfo,
  visit,
  visitWithTypeInfo,
} from "graphql";

const known = new WeakMap<DocumentNode, ReadonlySet<string>>();

/**
 * Names of the variables that stand only inside of literals which check their own values: see api/request-schema.ts. They are not
 * coerced to the type that they are declared with, so that a wrong one is the problem of its event, and not of the request.
 */
export function deferredVariables(schema: GraphQLSchema, document: DocumentNode): ReadonlySet<string> {
  const before = known.get(document);
  if (before !== undefined) return before;
  const inside = new Set<string>();
  const outside = new Set<string>();
  const typeInfo = new TypeInfo(schema);
  visit(
    document,
    visitWithTypeInfo(typeInfo, {
      VariableDefinition: () => false,
      ObjectValue(node) {
        const type = typeInfo.getInputType();
        if (type == null || getNamedType(type).extensions.isInputObject !== true) return undefined;
        addVariables(node, inside);
        return false;
      },
      Variable: ({ name }) => void outside.add(name.value),
    }),
  );
  const deferred = inside.difference(outside);
  known.set(document, deferred);
  return deferred;
}

function addVariables(node: ObjectValueNode, names: Set<string>): void {
  visit(node, { Variable: ({ name }) => void names.add(name.value) });
}
