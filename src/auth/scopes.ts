import { type DocumentNode, type GraphQLSchema, getOperationAST, type SelectionSetNode } from "graphql";
import { type Client, type Operation, type Scope, scopes } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";

/**
 * Checks that a client may ask for every field at the root of an operation. Fields say what they need in their extensions
 * (`scope`; null: no scope); the others need `read`, and so does the schema itself, but for `__typename`. What `@skip` leaves out is checked, too.
 *
 * @throws AppError FORBIDDEN that says what is needed.
 */
export function checkScopes(schema: GraphQLSchema, operation: Operation<DocumentNode>, client: Client): void {
  const node = getOperationAST(operation.document, operation.operationName);
  if (!node) return;
  const fields = schema.getRootType(node.operation)?.getFields() ?? {};
  for (const name of rootFields(operation.document, node.selectionSet)) {
    // It reveals nothing, and clients and health checks request it everywhere.
    if (name === "__typename") continue;
    const { scope = "read" } = (fields[name]?.extensions ?? {}) as { readonly scope?: Scope | null };
    if (scope === null || client.scopes.has(scope)) continue;
    const has = scopes.filter((each) => client.scopes.has(each)).join(", ");
    throw new AppError("FORBIDDEN", `${name} needs a token with the scope "${scope}"; this one has ${has}`);
  }
}

const knownRootFields = new WeakMap<SelectionSetNode, ReadonlySet<string>>();

/** Names of the fields at the root, through fragments, each of which is looked into once. */
function rootFields(document: DocumentNode, selectionSet: SelectionSetNode): ReadonlySet<string> {
  const known = knownRootFields.get(selectionSet);
  if (known !== undefined) return known;
  const names = new Set<string>();
  const fragments = new Map(
    document.definitions.flatMap((each) =>
      each.kind === "FragmentDefinition" ? [[each.name.value, each.selectionSet] as const] : [],
    ),
  );
  const pending = [selectionSet];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    for (const selection of next.selections) {
      if (selection.kind === "Field") names.add(selection.name.value);
      else if (selection.kind === "InlineFragment") pending.push(selection.selectionSet);
      else {
        const spread = fragments.get(selection.name.value);
        fragments.delete(selection.name.value);
        if (spread !== undefined) pending.push(spread);
      }
    }
  }
  knownRootFields.set(selectionSet, names);
  return names;
}
