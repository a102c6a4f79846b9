import { type Change, CriticalityLevel, diff } from "@graphql-inspector/core";
import {
  type GraphQLSchema,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isObjectType,
} from "graphql";

/** What clients of the old schema can no longer rely on, by the rules of graphql-inspector. */
export async function breaksOf(released: GraphQLSchema, next: GraphQLSchema): Promise<readonly Change[]> {
  const changes = await diff(released, next);
  return changes.filter(({ criticality }) => criticality.level === CriticalityLevel.Breaking);
}

/**
 * The breaks that a section of the changelog does not name: each by its path in backticks, such as `QueueLatency.depth`, or by that of its
 * type, where the whole type is gone.
 */
export function unnamedBreaks(breaks: readonly Change[], section: string): readonly string[] {
  return breaks
    .filter(({ path = "" }) => !section.includes(`\`${path}\``))
    .map(({ path = "", message }) => `${path}: ${message}`);
}

/** Deprecated elements whose reason does not begin with the day until which they stay, such as "Until 2027-06-30: use depth." */
export function undatedDeprecations(schema: GraphQLSchema): readonly string[] {
  return deprecationsOf(schema).flatMap(({ path, reason }) => {
    const [, day = ""] = /^Until (\d{4}-\d\d-\d\d): \S.*\.$/s.exec(reason) ?? [];
    // Date.parse takes the 31st of February for the 3rd of March.
    const isDay = day !== "" && !Number.isNaN(Date.parse(day)) && new Date(day).toISOString().startsWith(day);
    return isDay ? [] : [`${path}: ${reason}`];
  });
}

interface Deprecation {
  readonly path: string;
  readonly reason: string;
}

interface Part {
  readonly name: string;
  readonly deprecationReason?: string | null | undefined;
  readonly args?: readonly Part[];
}

function deprecationsOf(schema: GraphQLSchema): readonly Deprecation[] {
  return Object.values(schema.getTypeMap())
    .filter((type) => !isIntrospectionType(type))
    .flatMap((type) => {
      if (isEnumType(type)) return ofParts(type.name, type.getValues());
      if (isObjectType(type) || isInterfaceType(type) || isInputObjectType(type))
        return ofParts(type.name, Object.values(type.getFields()));
      return [];
    });
}

function ofParts(parent: string, parts: readonly Part[]): readonly Deprecation[] {
  return parts.flatMap(({ name, deprecationReason: reason, args = [] }) => {
    const path = `${parent}.${name}`;
    const own = reason === null || reason === undefined ? [] : [{ path, reason }];
    return [...own, ...ofParts(path, args)];
  });
}
