/** What the environment, or a flag, gives. */
export type Given = Readonly<Record<string, string | undefined>>;

/** Reads variables, and collects what is wrong with them. */
export interface OtlpValues {
  readonly given: Given;
  readonly problems: string[];
  /** @returns undefined, and a problem, for a text that is not expected. */
  read<T>(
    name: string,
    byDefault: string,
    expected: string,
    parse: (text: string) => T | undefined,
  ): T | undefined;
}

export function createOtlpValues(given: Given): OtlpValues {
  const problems: string[] = [];
  return {
    given,
    problems,
    read(name, byDefault, expected, parse) {
      const text = given[name] ?? byDefault;
      const value = parse(text);
      const got = /_(HEADERS|ENDPOINT)$/.test(name) ? "" : `, got ${JSON.stringify(text)}`;
      if (value === undefined) problems.push(`${name}: expected ${expected}${got}`);
      return value;
    },
  };
}

export function oneOf<T extends string>(...values: readonly T[]): (text: string) => T | undefined {
  return (text) => values.find((value) => value === text);
}

export function wholeFrom(low: number, high: number): (text: string) => number | undefined {
  return (text) => {
    const value = Number(text);
    return /^\d+$/.test(text) && value >= low && value <= high ? value : undefined;
  };
}

/** Parses a share, such as 0.1. */
export function ratioOf(text: string): number | undefined {
  return /^(\d+\.?\d*|\.\d+)(e-\d+)?$/i.test(text) && Number(text) <= 1 ? Number(text) : undefined;
}

export const expectedPairs =
  "key=value, several separated by commas, with percent codes for other characters";

/** Parses pairs as the specification writes them, after W3C Baggage without properties. */
export function pairsOf(text: string): Readonly<Record<string, string>> | undefined {
  const pairs = text.split(",").filter((pair) => pair.trim() !== "");
  const read = pairs.map((pair) => /^\s*([^\s=]+)\s*=\s*(.*?)\s*$/.exec(pair));
  if (read.includes(null)) return undefined;
  try {
    return Object.fromEntries(
      read.map((pair) => [decodeURIComponent(pair?.[1] ?? ""), decodeURIComponent(pair?.[2] ?? "")]),
    );
  } catch {
    return undefined;
  }
}
