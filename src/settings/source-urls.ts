import { z } from "zod";
import { isUrl } from "./fields.ts";
import { postgresForm, postgresPrefixes, postgresProblem } from "./postgres-url.ts";
import { redisProblem } from "./redis-nodes.ts";
import { parametersProblem, tlsProblem } from "./url-parameters.ts";

export type SourceKind = "faktory" | "sidekiq" | "bullmq" | "postgres" | "celery";

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

const encoding = "(percent-encode reserved characters in user and password)";
const redisForms = `or rediss:// for TLS, or by redis+sentinel:// or unix:// as in REDIS_URL ${encoding}`;

/** Of each kind of job system: what its URL is, and what may stand behind the `?` beside how to connect. */
const urlForms = {
  faktory: {
    expected: `tcp://[:password@]host[:port][?paused=A,B&as=NAME], or tcp+tls:// for TLS ${encoding}`,
    parameters: ["as", "paused"],
  },
  sidekiq: {
    expected: `redis://[user:password@]host[:port][/db][?namespace=NAMESPACE&as=NAME], ${redisForms}`,
    parameters: ["as", "namespace"],
  },
  bullmq: {
    expected: `redis://[user:password@]host[:port][/db][?prefix=PREFIX&queues=A,B&as=NAME], ${redisForms}`,
    parameters: ["as", "prefix", "queues"],
  },
  postgres: { expected: postgresForm, parameters: [] },
  celery: {
    expected: `redis://[user:password@]host[:port][/db][?queues=A,B&prefix=PREFIX&steps=0,3,6,9&timeHeader=NAME&as=NAME], ${redisForms}`,
    parameters: ["as", "queues", "prefix", "steps", "timeHeader"],
  },
} as const;

/** URLs of one kind of job system, separated by spaces. */
export function sourceUrls(kind: SourceKind) {
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
  if (kind === "postgres") return postgresProblem(text);
  const { expected, parameters } = urlForms[kind];
  if (kind !== "faktory") return redisProblem(text, expected, parameters);
  if (!isUrl(text, ["tcp:", "tcp+tls:"])) return expected;
  const { protocol, searchParams } = new URL(text);
  return (
    parametersProblem(searchParams, [...parameters, "tls", "ca"]) ??
    tlsProblem(searchParams, protocol === "tcp+tls:", "tcp+tls://")
  );
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

/** The setting that names the sources of each kind. */
const sourceSettings = {
  FAKTORY_URL: "faktory",
  SIDEKIQ_URL: "sidekiq",
  BULLMQ_URL: "bullmq",
  POSTGRES_URL: "postgres",
  CELERY_URL: "celery",
} as const;

/**
 * Names that more than one source has, one line for each. It reads the text again, since names can clash between settings
 * of which one is wrong otherwise.
 */
export function nameClashes(given: Readonly<Record<string, string | undefined>>): readonly string[] {
  const settingsByName = new Map<string, string[]>();
  for (const [setting, kind] of Object.entries(sourceSettings)) {
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
