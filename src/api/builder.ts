import SchemaBuilder from "@pothos/core";
import ComplexityPlugin from "@pothos/plugin-complexity";
import type { Context } from "./context.ts";

/**
 * Builds the schema; the types are in the files beside this one. A field costs nothing unless it says so with `complexity`,
 * which also is where it checks its arguments: the cost of a request is calculated before anything of it runs.
 */
export const builder = new SchemaBuilder<{
  Context: Context;
  DefaultFieldNullability: false;
  Scalars: { DateTime: { Input: Date; Output: Date } };
}>({
  plugins: [ComplexityPlugin],
  defaultFieldNullability: false,
  complexity: { defaultComplexity: 0, defaultListMultiplier: 1, disabled: true },
});
