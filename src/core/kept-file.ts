import { readFile } from "node:fs/promises";
import { messageOf, StartError } from "./errors.ts";
import type { Logger } from "./logger.ts";
import type { Service } from "./service.ts";

/** What a file says, kept and read again when it changes. */
export interface KeptFile<T> extends Service {
  /** What it said when it was right last. */
  readonly value: T;
}

export interface KeptFileOptions<T> {
  readonly path: string;
  /** The setting that names the file, for whoever is told that it is wrong. */
  readonly setting: string;
  /** Makes the value of the file's text. @throws Error that tells everything that is wrong, each mistake with its line. */
  readonly parse: (text: string) => T;
  /** Until the start. */
  readonly initial: T;
  readonly logger: Logger;
  /** Called when the file has changed since the start. */
  readonly onChange: (value: T, before: T) => void;
  /** How often it is looked whether the file has changed. @default 1_000 // a second */
  readonly everyMs?: number;
}

/**
 * A file that cannot be read or has a mistake keeps the server from starting; later it changes nothing, and is logged, until it
 * is right again.
 */
export function createKeptFile<T>(options: KeptFileOptions<T>): KeptFile<T> {
  const { path, setting, parse, logger, onChange, everyMs = 1_000 } = options;
  let text: string | null = null;
  let value = options.initial;
  let problem = "";
  let timer: NodeJS.Timeout | undefined;
  let reading: Promise<void> = Promise.resolve();

  /** Reads all of it each time: it is short, and neither its time nor its size tells of every change. */
  async function read(): Promise<void> {
    const found = await readFile(path, "utf8");
    if (found === text && problem === "") return;
    const before = value;
    value = parse(found);
    text = found;
    problem = "";
    if (timer !== undefined) onChange(value, before);
  }

  async function readAgain(): Promise<void> {
    try {
      await read();
    } catch (error) {
      const message = messageOf(error);
      // Once for each mistake, not once a second.
      if (message !== problem) {
        logger.error({ err: message, path, setting }, "a file is wrong; what it said before still counts");
      }
      problem = message;
    }
  }

  return {
    get value() {
      return value;
    },
    async start() {
      try {
        await read();
      } catch (error) {
        throw new StartError(`${setting}: ${path}: ${messageOf(error)}`, { cause: error });
      }
      timer = setInterval(() => {
        reading = reading.then(readAgain);
      }, everyMs);
      timer.unref();
    },
    async stop() {
      clearInterval(timer);
      await reading;
    },
  };
}
