import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLMap } from "yaml";

/** A value of the file, and where it stands: `rules[2].for`. */
export interface Place {
  readonly node: unknown;
  readonly path: string;
}

/** Takes a YAML document apart by hand, so that whatever is wrong has its line, and all of it is told at once. */
export interface YamlReader {
  /** All that was found wrong, in the order of the lines. */
  readonly problems: () => readonly string[];
  readonly root: Place;
  wrong(place: Place, expected: string): void;
  /** The values of a map by their keys; keys that are not among these are wrong. Null, and said, when it is no map. */
  fields<Key extends string>(place: Place, known: readonly Key[]): Partial<Record<Key, Place>> | null;
  /** The values of a map with any keys. Null, and said, when it is no map. */
  entries(place: Place): readonly (readonly [key: string, value: Place])[] | null;
  /** The items of a list; a value that is no list is a list of one. */
  items(place: Place): readonly Place[];
  /** Text, a number, true or false as they are; undefined for all else. */
  scalar(place: Place): unknown;
}

export function createYamlReader(text: string): YamlReader {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: false });
  const found: { readonly line: number; readonly problem: string }[] = document.errors.map(
    ({ pos, message }) => ({ line: lines.linePos(pos[0]).line, problem: message }),
  );
  const root: Place = { node: document.contents, path: "" };

  /** An alias stands for what it names; the parser allows no loops among them. */
  const resolved = (node: unknown) => (isAlias(node) ? node.resolve(document) : node);
  const lineOf = (node: unknown) => lines.linePos((node as Node | null)?.range?.[0] ?? 0).line || 1;

  function wrong({ node, path }: Place, expected: string): void {
    found.push({ line: lineOf(node), problem: `${path === "" ? "" : `${path}: `}${expected}` });
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
      const name = String(isScalar(key) ? key.value : key);
      // Said here and not by the parser, after which nothing else could be said.
      if (names.has(name))
        wrong({ node: key, path: place.path }, `Map keys must be unique, found "${name}" again`);
      names.add(name);
      // What has no value has no place of its own.
      const at = isScalar(value) && value.value === null ? key : (value ?? key);
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
    scalar({ node }) {
      const value = resolved(node);
      return isScalar(value) ? (value.value ?? undefined) : undefined;
    },
  };
}

/** Stands where the key stands, and is nothing. */
function withoutValue(key: unknown): unknown {
  return { range: (key as Node).range };
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}
