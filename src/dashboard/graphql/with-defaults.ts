/**
 * A document whose variables have their values as defaults, for GraphiQL, which takes a query from its address but no variables.
 *
 * @param document with variables of scalars, enums and lists of them.
 */
export function withDefaults(document: string, variables: Readonly<Record<string, unknown>>): string {
  const headEnd = document.indexOf("{");
  const head = document
    .slice(0, headEnd)
    .replace(/\$(\w+):\s*([\w![\]]+)(\s*=\s*[^,)\s]+)?/g, (definition, name: string, type: string) => {
      const value = variables[name];
      return value == null ? definition : `$${name}: ${type} = ${literal(value, type)}`;
    });
  return head + document.slice(headEnd);
}

/** Values of enums are names without quotes; those of other types are as in JSON. */
function literal(value: unknown, type: string): string {
  if (Array.isArray(value)) return `[${value.map((item) => literal(item, type)).join(", ")}]`;
  if (typeof value !== "string") return JSON.stringify(value);
  return /^\[?(String|ID|DateTime)\b/.test(type) ? JSON.stringify(value) : value;
}
