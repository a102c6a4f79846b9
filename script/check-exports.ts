// `npm run lint:exports`: finds values of src that are exported and that no other file imports. Types are left out: those of a
// signature are part of what a function promises.
import { globSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";

const exported = /^export (?:async )?(?:const|class|function\*?) (\w+)/gm;
const imported = /^(?:import|export)\s[^;"]*?\{([^}]*)\}\s*from\s*"(\.[^"]+)"/gm;

/** Files that are loaded when they are needed. */
const importedLater = /\{([^{}]*)\} = await import\("(\.[^"]+)"\)/g;

/** @returns the names that each file imports, by the path of the file that exports them. */
function importsOf(files: ReadonlyMap<string, string>): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>();
  for (const [file, text] of files) {
    for (const [, names = "", path = ""] of [...text.matchAll(imported), ...text.matchAll(importedLater)]) {
      const from = resolve(dirname(file), path);
      const known = found.get(from) ?? new Set();
      found.set(from, known);
      for (const name of names.split(","))
        known.add(
          name
            .trim()
            .replace(/^type /, "")
            .split(" ")[0] as string,
        );
    }
  }
  return found;
}

/** @param files texts by absolute path. @returns a line for each export that nothing imports. */
export function findUnusedExports(files: ReadonlyMap<string, string>, src: string): readonly string[] {
  const imports = importsOf(files);
  return [...files]
    .filter(([file]) => file.startsWith(`${src}/`))
    .flatMap(([file, text]) =>
      [...text.matchAll(exported)]
        .map(([, name = ""]) => name)
        .filter((name) => imports.get(file)?.has(name) !== true)
        .map((name) => `${file}: ${name} is exported, and no other file imports it`),
    );
}

/** Of the whole project. */
export function checkExports(project: string): readonly string[] {
  const paths = globSync("{src,test,bench,script}/**/*.{ts,tsx}", { cwd: project }).map((path) =>
    join(project, path),
  );
  const files = new Map(paths.map((path) => [path, readFileSync(path, "utf8")]));
  return findUnusedExports(files, join(project, "src")).map((problem) => problem.slice(project.length + 1));
}

if (import.meta.main) {
  const problems = checkExports(resolve(import.meta.dirname, ".."));
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) process.exitCode = 1;
}
