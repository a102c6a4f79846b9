import { z } from "zod";
import { isUrl } from "./fields.ts";

export type SourceKind = "faktory" | "sidekiq" | "bullmq";

/** One job system to read. */
export interface SourceConfig {
  readonly kind: SourceKind;
  /** What stands before the slash in the names of its queues: the kind, or what `?as=` says. */
  readonly name: string;
  /** Without `as`; every other parameter is the source's own business. */
  readonly url: string;
}

/** URLs of one kind of job system, separated by spaces. */
export function sources(kind: SourceKind, protocols: readonly string[], expected: string) {
  return z
    .string()
    .optional()
    .transform((text, context) => {
      const texts = text === undefined ? [] : urlsIn(text);
      return texts.map((each, index): SourceConfig => {
        const problem = isUrl(each, protocols) ? nameProblem(each) : expected;
        if (problem === null) return sourceOf(kind, each);
        const which =
          texts.length === 1 ? "" : `, for each; this is about URL ${index + 1} of ${texts.length}`;
        context.addIssue({ code: "custom", message: `expected ${problem}${which}` });
        return z.NEVER;
      });
    });
}

/** At least one, which may be empty. */
function urlsIn(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

/** What was expected of `?as=`; null when it is right, or absent. */
function nameProblem(url: string): string | null {
  const names = new URL(url).searchParams.getAll("as");
  if (!names.every((name) => /^[a-z0-9._-]{1,50}$/.test(name)) || names.length > 1) {
    return "one name of 1 to 50 small letters, digits or any of . _ - behind ?as=";
  }
  return names[0] === "events" ? 'another name than "events" behind ?as=, for it means events' : null;
}

function sourceOf(kind: SourceKind, text: string): SourceConfig {
  const url = new URL(text);
  const name = url.searchParams.get("as");
  if (name === null) return { kind, name: kind, url: text };
  url.searchParams.delete("as");
  return { kind, name, url: url.href };
}

const sourceSettings = { FAKTORY_URL: "faktory", SIDEKIQ_URL: "sidekiq", BULLMQ_URL: "bullmq" } as const;

/**
 * Names that more than one source has, one line for each. It reads the text again, since names can clash between settings
 * of which one is wrong otherwise.
 */
export function nameClashes(given: Readonly<Record<string, string | undefined>>): readonly string[] {
  const settingsByName = new Map<string, string[]>();
  for (const [setting, kind] of Object.entries(sourceSettings)) {
    for (const text of urlsIn(given[setting] ?? "")) {
      if (!URL.canParse(text) || nameProblem(text) !== null) continue;
      const { name } = sourceOf(kind, text);
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
