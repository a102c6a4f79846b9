import { checkBound, type RequestBounds } from "./request-bounds.ts";

const quote = '"'.charCodeAt(0);
const backslash = "\\".charCodeAt(0);
const comma = ",".charCodeAt(0);
const [openingBracket, openingBrace] = ["[".charCodeAt(0), "{".charCodeAt(0)];
const [closingBracket, closingBrace] = ["]".charCodeAt(0), "}".charCodeAt(0)];

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
    else if (code === openingBracket || code === openingBrace) {
      values++;
      checkBound(bounds.valueDepth, ++depth, false);
    } else if (code === closingBracket || code === closingBrace) depth--;
    else continue;
    checkBound(bounds.values, values, false);
  }
}

function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  while (end >= 0 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
  return end < 0 ? text.length : end;
}

/** Backslashes escape each other, from the first one on. */
function isEscaped(text: string, at: number): boolean {
  let before = at;
  while (text.charCodeAt(before - 1) === backslash) before--;
  return (at - before) % 2 === 1;
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
