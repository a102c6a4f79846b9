import {
  type FieldNode,
  type GraphQLObjectType,
  type GraphQLResolveInfo,
  getArgumentValues,
  type SelectionSetNode,
} from "graphql";
import type { SnapshotParts, Window } from "../core/snapshot.ts";
import { isSkipped } from "../runtime/is-skipped.ts";

interface Selected {
  readonly names: ReadonlySet<string>;
  readonly parts: SnapshotParts;
}

/** By the nodes of a field, which are the same for each execution of a document, unless what is selected depends on variables. */
const knownSelected = new WeakMap<readonly FieldNode[], Selected>();

/** Which parts of its snapshots the selection below a field needs, so that nothing else is read. */
export function selectedParts(info: GraphQLResolveInfo): SnapshotParts {
  return selectedBelow(info).parts;
}

/** Whether one of these fields is selected below a field. */
export function selectsAny(info: GraphQLResolveInfo, fields: readonly string[]): boolean {
  const { names } = selectedBelow(info);
  return fields.some((field) => names.has(field));
}

/** Looks through fragments and through the levels of a connection. */
function selectedBelow(info: GraphQLResolveInfo): Selected {
  const known = knownSelected.get(info.fieldNodes);
  if (known !== undefined) return known;
  let hasVariable = false;
  const names = new Set<string>();
  const visited = new Set<string>();
  const windowsOf = { throughput: new Set<Window>(), waitTime: new Set<Window>() };

  function visitField(field: FieldNode): void {
    const name = field.name.value;
    names.add(name);
    if (name === "throughput" || name === "waitTime") {
      windowsOf[name].add(windowOf(info, field));
      hasVariable ||= field.arguments?.some(({ value }) => value.kind === "Variable") === true;
    } else if (field.selectionSet !== undefined) visitSelections(field.selectionSet);
  }

  function visitSelections({ selections }: SelectionSetNode): void {
    for (const selection of selections) {
      if (isSkipped(selection, info.variableValues)) continue;
      if (selection.kind === "Field") visitField(selection);
      else if (selection.kind === "InlineFragment") visitSelections(selection.selectionSet);
      else {
        // Once is enough, and fragments that spread each other many times over would take for ever.
        const fragment = info.fragments[selection.name.value];
        if (fragment === undefined || visited.has(fragment.name.value)) continue;
        visited.add(fragment.name.value);
        visitSelections(fragment.selectionSet);
      }
    }
  }

  for (const node of info.fieldNodes) {
    if (node.selectionSet !== undefined) visitSelections(node.selectionSet);
  }
  const parts: SnapshotParts = {
    // Health also depends on the depth.
    depth:
      names.has("depth") || names.has("depthIsLowerBound") || names.has("health") || names.has("forecast"),
    scheduled: names.has("scheduled"),
    lost: names.has("lost"),
    ...windowsOf,
  };
  const selected = { names, parts };
  if (!hasVariable) knownSelected.set(info.fieldNodes, selected);
  return selected;
}

function windowOf(info: GraphQLResolveInfo, field: FieldNode): Window {
  const type = info.schema.getType("QueueLatency") as GraphQLObjectType;
  const definition = type.getFields()[field.name.value];
  if (definition === undefined) throw new Error(`QueueLatency has no field ${field.name.value}`);
  return getArgumentValues(definition, field, info.variableValues).window as Window;
}
