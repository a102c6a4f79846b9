import { AppError } from "./errors.ts";

export const maxQueueNameBytes = 200;
/**
 * As Python's str.isprintable: no control, format, surrogate, private or unassigned characters, no space but U+0020. And not
 * U+FFFD, which all that is no UTF-8 is decoded to: names that differ would be one.
 */
const unprintable = /[^\P{C}]|[^ \P{Z}]|\ufffd/u;

/** What is wrong with a queue's name, in words; null when nothing is. */
export function queueNameProblem(name: string): string | null {
  if (name === "") return "a queue's name must not be empty";
  const bytes = Buffer.byteLength(name);
  if (bytes > maxQueueNameBytes)
    return `a queue's name has at most ${maxQueueNameBytes} bytes, this one has ${bytes}`;
  if (name.includes("*")) return `a queue's name must not contain "*": there are no wildcards`;
  const found = unprintable.exec(name);
  if (found === null) return null;
  const codePoint = (found[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0");
  return `a queue's name is printable text, this one contains U+${codePoint}`;
}

/** @throws AppError BAD_USER_INPUT that says what is wrong with the name, `where` it stands. */
export function checkQueueName(name: string, where: string): void {
  const problem = queueNameProblem(name);
  if (problem !== null) throw new AppError("BAD_USER_INPUT", `${where}: ${problem}`);
}
