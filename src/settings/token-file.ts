import { hash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Scope, scopes, type Token } from "../core/admission.ts";
import type { Logger } from "../runtime/logger.ts";
import { createReloadableFile } from "../runtime/reloadable-file.ts";
import type { Service } from "../runtime/service.ts";

export interface TokenFile extends Service {
  /**
   * The token with this secret, or null. It is looked up by its SHA-256: the time that this takes depends on digits of a hash, of
   * which a client cannot choose any.
   */
  find(secret: string): Token | null;
}

export interface RevokedToken {
  readonly name: string;
  /** Its secret is still valid, with fewer scopes. */
  readonly isKnown: boolean;
}

export interface TokenFileOptions {
  readonly path: string;
  readonly logger: Logger;
  /** Called for each token that is removed, has another secret, or has fewer scopes than before. */
  readonly onRevoked: (revoked: RevokedToken) => void;
  /** How often the file is checked for a change. @default 500 // twice a second */
  readonly everyMs?: number;
}

/** More than 100,000 tokens. */
const maxBytes = 16_000_000;

/** Knows the tokens in a file, and reads it again when it changes; runtime/reloadable-file.ts has the rules. */
export function createTokenFile({ path, logger, onRevoked, everyMs = 500 }: TokenFileOptions): TokenFile {
  const file = createReloadableFile<Tokens>({
    path,
    setting: "API_TOKENS_FILE",
    hint: `Make the file and a first token in it with: queue-latency token NAME read --api-tokens-file ${path}`,
    maxBytes,
    parse: parseInTurns,
    initial: { byName: new Map(), byHash: new Map() },
    logger,
    onChange({ byName, byHash }, before) {
      const revoked = [...before.byName.values()].filter((token) => !stillHas(byName.get(token.name), token));
      logger.info(
        { tokens: byName.size, revoked: revoked.slice(0, 100).map(({ name }) => name) },
        "read tokens again",
      );
      for (const { name, hash } of revoked) onRevoked({ name, isKnown: byHash.has(hash.toString("hex")) });
    },
    everyMs,
  });
  return {
    find: (secret) => file.value.byHash.get(hash("sha256", secret)) ?? null,
    start: file.start,
    stop: file.stop,
  };
}

interface Tokens {
  readonly byName: ReadonlyMap<string, Token>;
  /** By 64 hexadecimal digits, in small letters. */
  readonly byHash: ReadonlyMap<string, Token>;
}

/** A long file is read a part in each turn of the event loop. */
async function parseInTurns(text: string): Promise<Tokens> {
  const parsing = parse(text);
  for (;;) {
    const { done, value } = parsing.next();
    if (done) return value;
    await nextTurn();
  }
}

/** Whether the token may still do all that it could. */
function stillHas(now: Token | undefined, token: Token): boolean {
  if (now?.hash.equals(token.hash) !== true) return false;
  return now.scopes === token.scopes || token.scopes.isSubsetOf(now.scopes);
}

/**
 * Reads lines of `NAME SCOPES SHA256`: a name of its own, scopes separated by commas, and the SHA-256 of the token as 64
 * hexadecimal digits. Lines that are empty, or begin with `#` or with `>` as npm's own output does, mean nothing.
 *
 * @throws Error that lists everything that is wrong, each with its line.
 */
export function parseTokens(text: string): readonly Token[] {
  const parsing = parse(text);
  for (;;) {
    const { done, value } = parsing.next();
    if (done) return [...value.byName.values()];
  }
}

const linesInTurn = 500;

function* parse(text: string): Generator<undefined, Tokens> {
  const byName = new Map<string, Token>();
  const byHash = new Map<string, Token>();
  const problems: string[] = [];
  let number = 0;
  for (const line of text.split("\n")) {
    number += 1;
    if (number % linesInTurn === 0) yield;
    if (/^\s*([#>]|$)/.test(line)) continue;
    const words = line.trim().split(/\s+/);
    const problem = problemOf(words, byName);
    if (problem !== null) {
      // The text is not repeated: it may be a token that was written instead of its hash.
      problems.push(`line ${number}: ${problem}`);
      continue;
    }
    const [name = "", scopeList = "", hash = ""] = words;
    const token = { name, scopes: scopesIn(scopeList), hash: Buffer.from(hash, "hex") };
    byName.set(name, token);
    byHash.set(hash.toLowerCase(), token);
  }
  if (problems.length > 0) throw new Error(problems.join("; "));
  if (byName.size === 0) throw new Error("expected at least one token, found none");
  return { byName, byHash };
}

function problemOf(words: readonly string[], before: ReadonlyMap<string, Token>): string | null {
  const [name = "", scopeList = "", hash = ""] = words;
  if (words.length !== 3) return "expected NAME SCOPES SHA256, separated by blanks";
  if (!/^[\w.-]{1,50}$/.test(name)) return "expected a name of 1 to 50 letters, digits or any of _ . -";
  if (before.has(name)) return `expected a name of its own for each token, "${name}" has a line before`;
  if (!scopeList.split(",").every(isScope)) {
    return `expected scopes out of ${scopes.join(", ")}, separated by commas and without blanks`;
  }
  if (!/^[\da-f]{64}$/i.test(hash)) return "expected the SHA-256 of the token as 64 hexadecimal digits";
  return null;
}

/** One set for each text: there are few of them. */
const scopeSets = new Map<string, ReadonlySet<Scope>>();

function scopesIn(list: string): ReadonlySet<Scope> {
  const found = scopeSets.get(list) ?? new Set(list.split(",").filter(isScope));
  if (scopeSets.size < 1_000) scopeSets.set(list, found);
  return found;
}

function isScope(text: string): text is Scope {
  return (scopes as readonly string[]).includes(text);
}
