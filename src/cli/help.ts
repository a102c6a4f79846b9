import { listSettings } from "../settings/settings.ts";
import { flagOf } from "./arguments.ts";
import { settingDescriptions } from "./setting-descriptions.ts";

/** What `queue-latency --help` prints. */
export function helpText(): string {
  const settings = listSettings().map(({ name, defaultText }) => ({
    flag: `${flagOf(name)} ${placeholderOf(name)}`,
    text: settingDescriptions[name] + (defaultText === "" ? "" : ` [${defaultText}]`),
  }));
  const width = Math.max(...settings.map(({ flag }) => flag.length));
  const lines = settings.map(({ flag, text }) => `  ${flag.padEnd(width)}  ${text}`);
  return `usage: queue-latency [start] [--flag VALUE ...]
       queue-latency check [--flag VALUE ...]
       queue-latency token NAME SCOPES [--api-tokens-file FILE]

  start  runs the server, as no command does
  check  connects to everything that is configured, and prints what was found; exit code 1 if anything is wrong
  token  makes a token with scopes out of read, record and admin, separated by commas

Each setting is a flag and an environment variable: --redis-url is REDIS_URL, and the flag wins. The ending -url can be left out.
A flag of several URLs can be given several times. Other users of this machine can read flags: give passwords and secrets as
environment variables. The default is in brackets.

${lines.join("\n")}

  --help, -h     prints this
  --version, -v  prints the version
`;
}

function placeholderOf(name: string): string {
  return /_(URL|FILE|DIR|PATH|ORIGINS|SECRET)$/.exec(name)?.[1] ?? "VALUE";
}
