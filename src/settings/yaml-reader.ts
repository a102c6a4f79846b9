import {
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type Scalar,
  type YAMLMap,
} from "yaml";

/** A value of the file, and where it stands: `rules[2].for`. */
export interface Place {
  readonly node: unknown;
  readonly path: string;
}

/** Reads a YAML document node by node, so that each mistake has its line, and all mistakes are reported at once. */
export interface YamlReader {
  /** All mistakes, in the order of the lines. */
  readonly problems: () => readonly string[];
  readonly root: Place;
  wrong(place: Place, expected: string): void;
  /** The values of a map by their keys; other keys are a mistake. Null, and a mistake, when it is not a map. */
  fields<Key extends string>(place: Place, known: readonly Key[]): Partial<Record<Key, Place>> | null;
  /** The values of a map with any keys. Null, and a mistake, when it is not a map. */
  entries(place: Place): readonly (readonly [key: string, value: Place])[] | null;
  /** The items of a list; a value that is not a list is a list of one. */
  items(place: Place): readonly Place[];
  /** Whether it is a map; says nothing of it. */
  isMap(place: Place): boolean;
  /** The line in which its text begins, and whether each line of the text is a line of the file: so it is behind `|`. */
  position(place: Place): { readonly line: number; readonly isByLine: boolean };
  /** The text as it is in the file, also where YAML reads a number or a boolean: `007`, `1.10`. "" for all else. */
  text(place: Place): string;
}

export function createYamlReader(text: string): YamlReader {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  // One for each line: the parser's later words of a line follow from its first.
  const broken = new Map<number, string>();
  const textLines = text.split("\n");
  for (const { pos, code, message } of [...document.errors, ...document.warnings]) {
    const line = lines.linePos(pos[0]).line;
    const isStar = code === "BAD_ALIAS" || /^\s*(- *)?\*/.test(textLines[line - 1] ?? "");
    const problem = isStar ? 'expected quotes around a text that begins with "*"' : message;
    if (!broken.has(line)) broken.set(line, problem);
  }
  const found = [...broken].map(([line, problem]) => ({ line, problem }));
  const root: Place = { node: document.contents, path: "" };

  /** An alias stands for what it names; the parser allows no loops among them. */
  const resolved = (node: unknown) => (isAlias(node) ? node.resolve(document) : node);
  const lineOf = (node: unknown) => lines.linePos((node as Node | null)?.range?.[0] ?? 0).line || 1;

  function wrong({ node, path }: Place, expected: string): void {
    const line = lineOf(node);
    if (!broken.has(line)) found.push({ line, problem: `${path === "" ? "" : `${path}: `}${expected}` });
  }

  function map(place: Place): YAMLMap | null {
    const node = resolved(place.node);
    if (isMap(node)) return node;
    wrong(place, "expected a map, lines of KEY: VALUE");
    return null;
  }

  function entries(place: Place): readonly (readonly [string, Place])[] | null {
    const node = map(place);
    if (node === null) return null;
    const names = new Set<string>();
    return node.items.map(({ key, value }) => {
      const name = isScalar(key) ? textOf(key) : "";
      // Reported here and not by the parser, which stops at its first error.
      if (names.has(name))
        wrong({ node: key, path: place.path }, `Map keys must be unique, found "${name}" again`);
      names.add(name);
      // A key without a value has no node of its own.
      const at = isScalar(value) && textOf(value) === "" && value.value === null ? key : (value ?? key);
      return [name, { node: at === key ? withoutValue(key) : at, path: join(place.path, name) }];
    });
  }

  return {
    problems: () =>
      found.toSorted((a, b) => a.line - b.line).map((each) => `line ${each.line}: ${each.problem}`),
    root,
    wrong,
    fields(place, known) {
      const all = entries(place);
      if (all === null) return null;
      const fields: Record<string, Place> = {};
      for (const [name, value] of all) {
        if ((known as readonly string[]).includes(name)) fields[name] = value;
        else wrong({ ...value, path: place.path }, `expected ${known.join(", ")}, found "${name}"`);
      }
      return fields as ReturnType<YamlReader["fields"]>;
    },
    entries,
    items(place) {
      const node = resolved(place.node);
      if (!isSeq(node)) return [place];
      return node.items.map((item, i) => ({ node: item, path: `${place.path}[${i}]` }));
    },
    isMap: ({ node }) => isMap(resolved(node)),
    position({ node }) {
      const isByLine = isScalar(node) && node.type === "BLOCK_LITERAL";
      return { line: lineOf(node) + (isByLine ? 1 : 0), isByLine };
    },
    text({ node }) {
      const value = resolved(node);
      return isScalar(value) ? textOf(value) : "";
    },
  };
}

function textOf({ source, value }: Scalar): string {
  return source ?? String(value ?? "");
}

/** Stands where the key stands, and has no value. */
function withoutValue(key: unknown): unknown {
  return { range: (key as Node).range };
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}
