import { join } from "node:path";
import { expect, test } from "vitest";
import { checkExports, findUnusedExports } from "../../script/check-exports.ts";

test.each([
  { other: 'import { one } from "./a.ts";', isFound: false, why: "it is imported" },
  { other: 'import { two, one as uno } from "./a.ts";', isFound: false, why: "under another name" },
  { other: 'import {\n  one,\n  two,\n} from "./a.ts";', isFound: false, why: "over several lines" },
  {
    other: 'const { one } = await import("./a.ts");',
    isFound: false,
    why: "it is imported when it is needed",
  },
  { other: 'import { one } from "./b/a.ts";', isFound: true, why: "another file has the same name" },
  { other: 'import { oneMore } from "./a.ts";', isFound: true, why: "another name begins like it" },
  { other: "const one = 1;", isFound: true, why: "the name is used for something else" },
])("an export is unused: $isFound, since $why", ({ other, isFound }) => {
  const files = new Map([
    ["/p/src/a.ts", "export const one = 1;\nexport interface Two {}\nconst three = one;\n"],
    ["/p/src/c.ts", other],
  ]);
  expect(findUnusedExports(files, "/p/src")).toHaveLength(isFound ? 1 : 0);
});

test("no value of src is exported for nothing", () => {
  expect(checkExports(join(import.meta.dirname, "../.."))).toEqual([]);
});
