import { createHash } from "node:crypto";
import { constants, type Stats } from "node:fs";
import { open, stat } from "node:fs/promises";
import { messageOf, StartError } from "../core/errors.ts";
import type { Logger } from "./logger.ts";
import type { Service } from "./service.ts";

/** The value that a file of the operator's defines, read again when the file changes. */
export interface ReloadableFile<T> extends Service {
  /** From when the file was last right. */
  readonly value: T;
  /** Checks once for a change, which happens twice a second by itself. */
  check(): Promise<void>;
}

export interface ReloadableFileOptions<T> {
  readonly path: string;
  /** The setting that names the file, for messages. */
  readonly setting: string;
  /** What to do when there is no such file, for the message at the start. */
  readonly hint: string;
  readonly maxBytes: number;
  /** Makes the value of the file's text. @throws Error that lists everything that is wrong, each mistake with its line. */
  readonly parse: (text: string) => T | Promise<T>;
  /** Until the start. */
  readonly initial: T;
  readonly logger: Logger;
  /** Called when the file has changed since the start. */
  readonly onChange: (value: T, before: T) => void;
  /** How often the file is checked for a change. @default 500 // twice a second */
  readonly everyMs?: number;
}

/**
 * A file that cannot be read or has a mistake keeps the server from starting. Later it is logged once and changes nothing, until it
 * is right again. A change is read when the file has looked the same in two checks, so that a file that is still being written
 * does not count; a file that is wrong is not read again before it changes.
 */
export function createReloadableFile<T>(options: ReloadableFileOptions<T>): ReloadableFile<T> {
  const { path, setting, hint, maxBytes, parse, logger, onChange, everyMs = 500 } = options;
  let value = options.initial;
  /** Of the text that `value` was made of. */
  let hash = "";
  /** How the file looked in the last check, and when it was last read in a check. */
  let seen = "";
  let read = "";
  let problem = "";
  let timer: NodeJS.Timeout | undefined;
  let checking: Promise<void> = Promise.resolve();

  async function load(): Promise<void> {
    const text = await readText(path, maxBytes);
    const found = createHash("sha256").update(text).digest("base64");
    if (found === hash && problem === "") return;
    const before = value;
    value = await parse(text);
    hash = found;
    problem = "";
    if (timer !== undefined) onChange(value, before);
  }

  async function check(): Promise<void> {
    const before = seen;
    seen = await appearance(path);
    if (seen !== before || seen === read) return;
    read = seen;
    try {
      await load();
    } catch (error) {
      const message = brief(messageOf(error));
      if (message !== problem) {
        logger.error(
          { err: message, path, setting },
          "file is wrong, the last version that was right still counts",
        );
      }
      problem = message;
    }
  }

  function checkNext(): Promise<void> {
    checking = checking.then(check);
    return checking;
  }

  return {
    get value() {
      return value;
    },
    check: checkNext,
    async start() {
      try {
        await load();
      } catch (error) {
        const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
        throw new StartError(
          `${setting}: ${path}: ${brief(messageOf(error))}${isMissing ? `. ${hint}` : await accessHint(path, error)}`,
          { cause: error },
        );
      }
      timer = setInterval(checkNext, everyMs);
      timer.unref();
    },
    async stop() {
      clearInterval(timer);
      await checking;
    },
  };
}

/** Distinguishes versions of the file without reading it; the error when it does not exist. */
async function appearance(path: string): Promise<string> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return [ino, size, mtimeNs, ctimeNs].join(" ");
  } catch (error) {
    return messageOf(error);
  }
}

/** @throws Error when it is not a regular file, is too long, or cannot be read. */
async function readText(path: string, maxBytes: number): Promise<string> {
  // Opening a FIFO would wait for a writer, and opening a device may do something.
  const found = await stat(path);
  if (!found.isFile()) throw new Error(`expected a regular file, found ${kindOf(found)}`);
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const { size } = await file.stat();
    if (size > maxBytes) throw tooLong(maxBytes);
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of file.createReadStream({ autoClose: false }) as AsyncIterable<Buffer>) {
      length += chunk.length;
      // Files of /proc have no size.
      if (length > maxBytes) throw tooLong(maxBytes);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString("utf8");
  } finally {
    await file.close();
  }
}

function kindOf(found: Stats): string {
  if (found.isDirectory()) return "a directory";
  if (found.isFIFO()) return "a FIFO";
  return found.isSocket() ? "a socket" : "a device";
}

function tooLong(maxBytes: number): Error {
  return new Error(`expected at most ${maxBytes / 1000} kB`);
}

async function accessHint(path: string, error: unknown): Promise<string> {
  if (!(error instanceof Error && "code" in error && error.code === "EACCES")) return "";
  const found = await stat(path).catch(() => null);
  const owner =
    found === null
      ? ""
      : ` It belongs to user ${found.uid} and has mode ${(found.mode & 0o777).toString(8)}.`;
  const user = process.geteuid?.();
  return `. This server runs as user ${user}.${owner} Let that user read it: chown ${user} ${path}, or chmod 644 ${path}`;
}

const maxMessage = 2_000;

function brief(message: string): string {
  const more = message.length - maxMessage;
  return more <= 0 ? message : `${message.slice(0, maxMessage)}… (${more} more characters)`;
}
