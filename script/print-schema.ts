import { writeFileSync } from "node:fs";
import { printedSchema } from "../src/api/schema.ts";

writeFileSync(new URL("../schema.graphql", import.meta.url), printedSchema());
