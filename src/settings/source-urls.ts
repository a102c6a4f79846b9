import { z } from "zod";
import { duration, isUrl } from "./fields.ts";
import { postgresPrefixes, postgresProblem } from "./postgres-url.ts";
import { rabbitmqProblem } from "./rabbitmq-url.ts";
import { redisProblem } from "./redis-nodes.ts";
import {
  intervalSetting,
  type PolledKind,
  polledKindNames,
  type SourceKind,
  sourceKindNames,
  sourceKinds,
  urlSetting,
} from "./source-kinds.ts";
import { parametersProblem, tlsProblem } from "./url-parameters.ts";

/** One job system to read. */
export interface SourceConfig {
  readonly kind: SourceKind;
  /** The part before the slash in the names of its queues, unless it has `prefixes`: the kind, or the value of `?as=`. */
  readonly name: string;
  /** Of a Postgres, where several job systems may be: the part before the slash in the names of each one's queues. */
  readonly prefixes?: Readonly<Record<string, string>>;
  /** Without `as`; the source reads every other parameter. */
  readonly url: string;
}

type SourceSettings = {
  readonly [K in SourceKind as `${Uppercase<K>}_URL`]: ReturnType<typeof sourceUrls>;
} & { readonly [K in PolledKind as `${Uppercase<K>}_INTERVAL`]: ReturnType<typeof duration> };

/** Of every kind of job system the settings that say where it is and how often it is read. */
export function sourceSettings(): SourceSettings {
  const settings = sourceKindNames.flatMap((kind) => [
    [urlSetting(kind), sourceUrls(kind)],
    ...polledKindNames
      .filter((polled) => polled === kind)
      .map((polled) => [intervalSetting(polled), duration("1s", "100ms", "1h")]),
  ]);
  return Object.fromEntries(settings) as SourceSettings;
}

/** URLs of one kind of job system, separated by spaces. */
function sourceUrls(kind: SourceKind) {
  return z
    .string()
    .optional()
    .transform((text, context) => {
      const texts = text === undefined ? [] : urlsIn(text);
      return texts.map((each, index): SourceConfig => {
        const problem = nameProblem(each) ?? urlProblem(kind, each);
        if (problem === null) return sourceOf(kind, each);
        const which =
          texts.length === 1 ? "" : `, for each; this is about URL ${index + 1} of ${texts.length}`;
        context.addIssue({ code: "custom", message: `expected ${problem}${which}` });
        return z.NEVER;
      });
    });
}

function urlProblem(kind: SourceKind, text: string): string | null {
  const { place, expected, parameters } = sourceKinds[kind];
  if (place === "redis") return redisProblem(text, expected, parameters) ?? streamsProblem(kind, text);
  if (kind === "postgres") return postgresProblem(text);
  if (kind === "rabbitmq") return rabbitmqProblem(text);
  if (!isUrl(text, ["tcp:", "tcp+tls:"])) return expected;
  const { protocol, searchParams } = new URL(text);
  return (
    parametersProblem(searchParams, [...parameters, "tls", "ca"]) ??
    tlsProblem(searchParams, protocol === "tcp+tls:", "tcp+tls://")
  );
}

function streamsProblem(kind: SourceKind, text: string): string | null {
  if (kind !== "streams" || /[^,]/.test(parametersOf(text).get("streams") ?? "")) return null;
  return "names of streams, or patterns such as orders:*, behind ?streams=";
}

/** At least one, which may be empty. */
function urlsIn(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

/** What was expected of `?as=`; null when it is right, or absent. */
function nameProblem(url: string): string | null {
  const names = parametersOf(url).getAll("as");
  if (!names.every((name) => /^[a-z0-9._-]{1,50}$/.test(name)) || names.length > 1) {
    return "one name of 1 to 50 small letters, digits or any of . _ - behind ?as=";
  }
  return names[0] === "events" ? 'another name than "events" behind ?as=, for it means events' : null;
}

function sourceOf(kind: SourceKind, text: string): SourceConfig {
  const parameters = parametersOf(text);
  const name = parameters.get("as");
  if (kind === "postgres") return postgresOf(text, name);
  if (name === null) return { kind, name: kind, url: text };
  parameters.delete("as");
  const query = parameters.size === 0 ? "" : `?${parameters}`;
  return { kind, name, url: text.replace(/\?.*$/s, query) };
}

/** Two URLs may name different systems, and are two sources then. */
function postgresOf(url: string, as: string | null): SourceConfig {
  const name = as ?? parametersOf(url).get("system")?.replaceAll(",", "+") ?? "postgres";
  return { kind: "postgres", name, url, prefixes: postgresPrefixes(url, as) };
}

/** What stands before the slash in the names of a source's queues. */
export function prefixesOf({ name, prefixes }: SourceConfig): readonly string[] {
  return prefixes === undefined ? [name] : Object.values(prefixes);
}

/** Not by URL: one that names several Sentinels is none. */
function parametersOf(text: string): URLSearchParams {
  return new URLSearchParams(/\?.*$/s.exec(text)?.[0]);
}

/**
 * Names that more than one source has, one line for each. It reads the text again, since names can clash between settings
 * of which one is wrong otherwise.
 */
export function nameClashes(given: Readonly<Record<string, string | undefined>>): readonly string[] {
  const settingsByName = new Map<string, string[]>();
  for (const kind of sourceKindNames) {
    const setting = urlSetting(kind);
    for (const text of urlsIn(given[setting] ?? "")) {
      if (!text.includes("://") || nameProblem(text) !== null) continue;
      if (kind === "postgres" && postgresProblem(text) !== null) continue;
      for (const name of prefixesOf(sourceOf(kind, text)))
        settingsByName.set(name, [...(settingsByName.get(name) ?? []), setting]);
    }
  }
  return [...settingsByName]
    .filter(([, where]) => where.length > 1)
    .map(
      ([name, where]) =>
        `${[...new Set(where)].join(", ")}: expected a name of its own for each source, behind ?as=, got ${where.length} named "${name}"`,
    );
}
