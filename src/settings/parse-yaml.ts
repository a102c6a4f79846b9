import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
} from "yaml";
import { z } from "zod";

/** A mistake, and where in the text it is. */
interface Problem {
  readonly offset: number;
  readonly message: string;
}

/** A value that was read, and where in the file it is. */
export interface ParsedYaml<T> {
  readonly data: T;
  /** The line in which the text of a value begins, and whether each line of it is a line of the file: so it is behind `|`. */
  lineOf(path: readonly PropertyKey[]): { readonly line: number; readonly isByLine: boolean };
}

/**
 * Reads a YAML document with a schema. Each scalar is a string, as it is in the file, also where YAML would read a number or a boolean:
 * `007`, `1.10`. A map is a `Map`, in the order of the file: see {@link yamlFields}.
 *
 * @throws AggregateError with all mistakes, in the order of the lines: each with its line, its path, and what was expected.
 */
export function parseYaml<T>(text: string, schema: z.ZodType<T>): ParsedYaml<T> {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    ...{ schema: "failsafe", resolveKnownTags: false, stringKeys: true },
    ...{ lineCounter: lines, prettyErrors: false },
    // The parser compares each key with all keys before it.
    uniqueKeys: false,
  });
  const lineAt = (offset: number) => lines.linePos(offset).line || 1;
  const refuse = (problems: readonly Problem[]): never => {
    const sorted = problems.toSorted((a, b) => a.offset - b.offset);
    const messages = sorted.map((each) => `line ${lineAt(each.offset)}: ${each.message}`);
    throw new AggregateError(messages, messages.join("; "));
  };

  // What else the parser reports of a line follows from its first problem.
  const broken = new Map(
    syntaxProblems(document, text)
      .toReversed()
      .map((each) => [lineAt(each.offset), each]),
  );
  if (broken.size > 0) refuse([...broken.values()]);
  // Each use of an anchor is the same value, so that no number of them takes more memory.
  const { data, error } = schema.safeParse(document.toJS({ mapAsMap: true, maxAliasCount: -1 }));
  const problems = [
    ...repeatedKeys(document),
    ...(error?.issues ?? []).flatMap((issue) => problemsOf(issue, document)),
  ];
  if (problems.length > 0) refuse(problems);
  return {
    data: data as T,
    lineOf(path) {
      const { node } = placeOf(path, document);
      const isByLine = isScalar(node) && node.type === "BLOCK_LITERAL";
      return { line: lineAt(offsetOf(node)) + (isByLine ? 1 : 0), isByLine };
    },
  };
}

function syntaxProblems({ errors, warnings }: Document.Parsed, text: string): readonly Problem[] {
  return [...errors, ...warnings].map(({ pos: [offset], code, message }) => {
    const line = text.slice(text.lastIndexOf("\n", offset - 1) + 1);
    const isStar = code === "BAD_ALIAS" || /^ *(- *)?\*/.test(line);
    if (isStar) return { offset, message: 'expected quotes around a text that begins with "*"' };
    return { offset, message: code === "NON_STRING_KEY" ? "expected a text before the colon" : message };
  });
}

function repeatedKeys(document: Document.Parsed): readonly Problem[] {
  const found: Problem[] = [];
  visit(document, {
    Map(_, { items }) {
      const names = new Set<string>();
      for (const { key } of items) {
        const name = String(key);
        if (names.has(name))
          found.push({ offset: offsetOf(key), message: `Map keys must be unique, found "${name}" again` });
        names.add(name);
      }
    },
  });
  return found;
}

function problemsOf(issue: z.core.$ZodIssue, document: Document.Parsed): readonly Problem[] {
  const { offset, path } = placeOf(issue.path, document);
  const message = `${path === "" ? "" : `${path}: `}${issue.message}`;
  if (issue.code !== "unrecognized_keys") return [{ offset, message }];
  return issue.keys.map((key) => ({
    offset: placeOf([...issue.path, key], document).offset,
    message: `${message}, found "${key}"`,
  }));
}

/** Where a value is, and its path as people write it: `rules[2].for`. Of a value that is missing: where the map is. */
function placeOf(keys: readonly PropertyKey[], document: Document.Parsed) {
  let node: unknown = document.contents;
  let offset = offsetOf(node);
  let path = "";
  for (const key of keys) {
    const parent = isAlias(node) ? node.resolve(document) : node;
    if (isSeq(parent) && typeof key === "number") {
      node = parent.items[key];
      offset = offsetOf(node);
      path += `[${key}]`;
    } else if (isMap(parent) && typeof key === "string") {
      // Of a key that is there twice, the last value was read.
      const pair = parent.items.findLast((each) => String(each.key) === key);
      node = pair?.value;
      // A key without a value has no node of its own.
      if (pair !== undefined) offset = offsetOf(pair.key);
      path += path === "" ? key : `.${key}`;
    }
  }
  return { node, offset, path };
}

function offsetOf(node: unknown): number {
  return (node as Node | null)?.range?.[0] ?? 0;
}

/** A map with these keys; other keys are a mistake. */
export function yamlFields<Shape extends z.ZodRawShape>(shape: Shape) {
  return yamlMap(z.string(), z.unknown())
    .transform((map) => Object.fromEntries(map))
    .pipe(z.strictObject(shape, `expected ${Object.keys(shape).join(", ")}`));
}

/** A map with any keys that are right. */
export function yamlMap<Key extends z.ZodType, Value extends z.ZodType>(key: Key, value: Value) {
  return z.map(key, value, "expected a map, lines of KEY: VALUE");
}

/** A list, whose items are read when it is not too long; a value that is not a list is a list of one. */
export function yamlList<Item extends z.ZodType>(item: Item, min: number, max: number, expected: string) {
  return z.preprocess(
    (value) => (value === undefined || Array.isArray(value) ? value : [value]),
    z.array(z.unknown(), expected).min(min, expected).max(max, expected).pipe(z.array(item)),
  );
}
