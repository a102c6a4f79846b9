import { StartError } from "../core/errors.ts";
import { closest } from "../settings/closest.ts";
import { listSettings } from "../settings/settings.ts";

const commands = ["start", "check", "token"] as const;
export type Command = (typeof commands)[number];

/** What the words behind the program's name ask for. */
export interface CommandLine {
  readonly command: Command | "help" | "version";
  /** Settings that were given as flags, by the names of their environment variables. */
  readonly settings: Readonly<Record<string, string>>;
  /** What is behind a command and is no flag, such as the name of a token. */
  readonly words: readonly string[];
}

const others: Readonly<Record<string, "help" | "version">> = {
  "--help": "help",
  "-h": "help",
  "--version": "version",
  "-v": "version",
};

/** The flag of a setting: `--redis-url` of REDIS_URL. */
export function flagOf(setting: string): string {
  return `--${setting.toLowerCase().replaceAll("_", "-")}`;
}

/**
 * Reads the arguments. Each setting is a flag, as `--port 80` or `--port=80`; of a URL the ending may be left out, as in `--sidekiq`. A flag
 * that is given several times has all its values, separated by spaces, as settings of several URLs do.
 *
 * @param settingNames the settings that have a flag. @default all
 * @throws StartError that names the first argument that is wrong, and the one that was probably meant.
 */
export function readArguments(
  args: readonly string[],
  settingNames: readonly string[] = listSettings().map(({ name }) => name),
): CommandLine {
  const settingOf = settingsByFlag(settingNames);
  const settings: Record<string, string> = {};
  const words: string[] = [];
  let other: "help" | "version" | null = null;
  const left = args.values();
  for (const arg of left) {
    if (!arg.startsWith("-")) {
      words.push(arg);
      continue;
    }
    const [flag = "", ...rest] = arg.split("=");
    if (others[arg] !== undefined) {
      other ??= others[arg];
      continue;
    }
    const setting = settingOf.get(flag);
    if (setting === undefined) throw unknown("flag", flag, [...settingOf.keys(), ...Object.keys(others)]);
    const value = rest.length > 0 ? rest.join("=") : left.next().value;
    if (value === undefined || value === "" || (rest.length === 0 && value.startsWith("--")))
      throw new StartError(`${flag} needs a value, as in ${flag}=VALUE.\n${hint}`);
    settings[setting] = setting in settings ? `${settings[setting]} ${value}` : value;
  }
  const [first = "start", ...behind] = words;
  const command = commands.find((name) => name === first);
  if (other !== null) return { command: other, settings, words: [] };
  if (command === undefined) throw unknown("command", first, commands);
  if (command !== "token" && behind[0] !== undefined)
    throw new StartError(`unexpected argument ${behind[0]} behind ${command}.\n${hint}`);
  return { command, settings, words: behind };
}

const hint = "queue-latency --help lists all commands and flags.";

function settingsByFlag(names: readonly string[]): ReadonlyMap<string, string> {
  const byFlag = new Map(names.map((name) => [flagOf(name), name]));
  for (const name of names) {
    const short = flagOf(name).replace(/-url$/, "");
    if (!byFlag.has(short)) byFlag.set(short, name);
  }
  return byFlag;
}

function unknown(what: string, got: string, known: readonly string[]): StartError {
  const meant = closest(got, known);
  return new StartError(`unknown ${what} ${got}${meant === null ? "" : `; did you mean ${meant}?`}\n${hint}`);
}
