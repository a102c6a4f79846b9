import { writeFileSync } from "node:fs";
import { printedSchema, schema } from "../src/api/schema.ts";
import { introspectionType } from "./introspection-type.ts";

writeFileSync(new URL("../schema.graphql", import.meta.url), printedSchema());
writeFileSync(
  new URL("../src/dashboard/graphql/introspection.ts", import.meta.url),
  introspectionType(schema),
);
