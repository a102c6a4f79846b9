import { type GraphQLSchema, introspectionFromSchema, lexicographicSortSchema } from "graphql";

/** What the types of documents are inferred from: kinds, names and types, without descriptions and directives. */
const kept = new Set([
  ...["kind", "name", "type", "ofType", "defaultValue"],
  ...["fields", "args", "inputFields", "interfaces", "enumValues", "possibleTypes"],
]);

/** The schema as a type of TypeScript, a line for each of its types: src/dashboard/graphql/introspection.ts. */
export function introspectionType(schema: GraphQLSchema): string {
  const { __schema } = introspectionFromSchema(lexicographicSortSchema(schema), { descriptions: false });
  const types = __schema.types.filter(({ name }) => !name.startsWith("__"));
  const root = (type: { readonly name: string } | null | undefined) => JSON.stringify({ name: type?.name });
  return `// Made from the schema by \`npm run schema\`.
export interface Introspection {
  __schema: {
    queryType: ${root(__schema.queryType)};
    mutationType: ${root(__schema.mutationType)};
    subscriptionType: ${root(__schema.subscriptionType)};
    types: [
${types.map((type) => `      ${typeText(type)},`).join("\n")}
    ];
  };
}
`;
}

function typeText(type: object): string {
  return JSON.stringify(type, (key, value) =>
    key === "" || /^\d+$/.test(key) || kept.has(key) ? value : undefined,
  );
}
