import { createHash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Scope, scopes } from "../core/admission.ts";
import type { Logger } from "../core/logger.ts";
import { createReloadableFile } from "../core/reloadable-file.ts";
import type { Service } from "../core/service.ts";

/** A client that is known by a secret, of which only the hash is kept. */
export interface Token {
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
  /** SHA-256. */
  readonly hash: Buffer;
}

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
  /** How often it is looked whether the file has changed. @default 500 // twice a second */
  readonly everyMs?: number;
}

/** More than 100,000 tokens. */
const maxBytes = 16_000_000;

/** Knows the tokens in a file, and reads it again when it changes; core/reloadable-file.ts says when, and what if it is wrong. */
export function createTokenFile({ path, logger, onRevoked, everyMs = 500 }: TokenFileOptions): TokenFile {
  const file = createReloadableFile<Tokens>({
    path,
    setting: "API_TOKENS_FILE",
    hint: `Make the file and a first token in it with: API_TOKENS_FILE=${path} npm run token -- NAME read`,
    maxBytes,
    parse: parseInTurns,
    initial: indexed([]),
    logger,
    onChange({ byName, byHash }, before) {
      const revoked = [...before.byName.values()].filter((token) => !stillHas(byName.get(token.name), token));
      logger.info(
        { tokens: byName.size, revoked: revoked.map(({ name }) => name) },
        "the tokens were read again",
      );
      for (const { name, hash } of revoked) onRevoked({ name, isKnown: byHash.has(hash.toString("hex")) });
    },
    everyMs,
  });
  return {
    find: (secret) => file.value.byHash.get(createHash("sha256").update(secret).digest("hex")) ?? null,
    start: file.start,
    stop: file.stop,
  };
}

interface Tokens {
  readonly byName: ReadonlyMap<string, Token>;
  readonly byHash: ReadonlyMap<string, Token>;
}

function indexed(tokens: readonly Token[]): Tokens {
  return {
    byName: new Map(tokens.map((token) => [token.name, token])),
    byHash: new Map(tokens.map((token) => [token.hash.toString("hex"), token])),
  };
}

/** A long file is read a part in each turn of the event loop. */
async function parseInTurns(text: string): Promise<Tokens> {
  const parsing = parse(text);
  for (;;) {
    const { done, value } = parsing.next();
    if (done) return indexed(value);
    await nextTurn();
  }
}

/** Whether the token may still do all that it could. */
function stillHas(now: Token | undefined, token: Token): boolean {
  return now?.hash.equals(token.hash) === true && token.scopes.isSubsetOf(now.scopes);
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
    if (done) return value;
  }
}

const linesInTurn = 500;

function* parse(text: string): Generator<undefined, readonly Token[]> {
  const tokens = new Map<string, Token>();
  const problems: string[] = [];
  let number = 0;
  for (const line of text.split("\n")) {
    number += 1;
    if (number % linesInTurn === 0) yield;
    if (/^\s*([#>]|$)/.test(line)) continue;
    const words = line.trim().split(/\s+/);
    const problem = problemOf(words, tokens);
    // What stands there is not repeated: it may be a token that was written down instead of its hash.
    if (problem !== null) problems.push(`line ${number}: ${problem}`);
    else tokens.set(words[0] ?? "", tokenOf(words));
  }
  if (problems.length > 0) throw new Error(problems.join("; "));
  if (tokens.size === 0) throw new Error("expected at least one token, found none");
  return [...tokens.values()];
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

function tokenOf([name = "", scopeList = "", hash = ""]: readonly string[]): Token {
  return { name, scopes: new Set(scopeList.split(",").filter(isScope)), hash: Buffer.from(hash, "hex") };
}

function isScope(text: string): text is Scope {
  return (scopes as readonly string[]).includes(text);
}
