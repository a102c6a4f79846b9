import { checkBound } from "./check-bound.ts";
import type { RequestBounds } from "./request-bounds.ts";

const quote = '"'.charCodeAt(0);
const backslash = "\\".charCodeAt(0);
const comma = ",".charCodeAt(0);
const openings: ReadonlySet<number> = new Set(["[", "{"].map((each) => each.charCodeAt(0)));
const closings: ReadonlySet<number> = new Set(["]", "}"].map((each) => each.charCodeAt(0)));

/**
 * Looks at JSON before it is parsed: a megabyte of brackets takes `JSON.parse` ten times as long as a megabyte of events, and
 * takes much more memory. What is no JSON is left to the parser.
 *
 * @throws AppError VARIABLES_TOO_LARGE or VARIABLES_TOO_DEEP.
 */
export function checkJson(text: string, bounds: RequestBounds): void {
  let values = 0;
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === quote) i = endOfString(text, i);
    else if (code === comma) values++;
    else if (openings.has(code)) {
      values++;
      checkBound(bounds.valueDepth, ++depth, false);
    } else if (closings.has(code)) depth--;
    else continue;
    checkBound(bounds.values, values, false);
  }
}

function endOfString(text: string, start: number): number {
  let i = start + 1;
  while (i < text.length && text.charCodeAt(i) !== quote) i += text.charCodeAt(i) === backslash ? 2 : 1;
  return i;
}

/**
 * Looks at what is sent in the place of an operation's variables, whatever it is, and wherever it was parsed.
 *
 * @param seen how many values the operations before this one had.
 * @returns how many there are now.
 * @throws AppError VARIABLES_TOO_LARGE, VARIABLES_TOO_DEEP, LIST_TOO_LONG or STRING_TOO_LONG.
 */
export function checkVariables(variables: unknown, bounds: RequestBounds, seen = 0): number {
  let values = seen;
  const pending: { readonly value: unknown; readonly depth: number }[] = [{ value: variables, depth: 1 }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { value, depth } = next;
    if (typeof value === "string") checkBound(bounds.string, value.length);
    if (typeof value !== "object" || value === null) continue;
    checkBound(bounds.valueDepth, depth, false);
    const parts: readonly unknown[] = Array.isArray(value) ? value : Object.values(value);
    if (Array.isArray(value)) checkBound(bounds.list, value.length);
    values += parts.length;
    checkBound(bounds.values, values, false);
    for (const part of parts) pending.push({ value: part, depth: depth + 1 });
  }
  return values;
}
