import { createHash, timingSafeEqual } from "node:crypto";
import { type Scope, scopes } from "../core/admission.ts";
import { createKeptFile } from "../core/kept-file.ts";
import type { Logger } from "../core/logger.ts";
import type { Service } from "../core/service.ts";

/** Somebody who may come in. What they show is not kept, only its hash. */
export interface Token {
  readonly name: string;
  readonly scopes: ReadonlySet<Scope>;
  /** SHA-256. */
  readonly hash: Buffer;
}

export interface TokenFile extends Service {
  /** The token with this secret, or null. Takes as long for one as for another. */
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
  /** How often it is looked whether the file has changed. @default 1_000 // a second */
  readonly everyMs?: number;
}

/**
 * Keeps what the file of tokens says, and reads it again when it changes. A file that cannot be read or has a mistake keeps the
 * server from starting; later it changes nothing, and is logged, until it is right again.
 */
export function createTokenFile({ path, logger, onRevoked, everyMs = 1_000 }: TokenFileOptions): TokenFile {
  const file = createKeptFile<readonly Token[]>({
    path,
    setting: "API_TOKENS_FILE",
    parse: parseTokens,
    initial: [],
    logger,
    onChange(tokens, before) {
      const revoked = before.filter((token) => !stillHas(tokens, token));
      logger.info(
        { tokens: tokens.length, revoked: revoked.map(({ name }) => name) },
        "the tokens were read again",
      );
      for (const { name, hash } of revoked)
        onRevoked({ name, isKnown: tokens.some((token) => token.hash.equals(hash)) });
    },
    everyMs,
  });
  return {
    find(secret) {
      const hash = createHash("sha256").update(secret).digest();
      let found: Token | null = null;
      for (const token of file.value) if (timingSafeEqual(token.hash, hash)) found = token;
      return found;
    },
    start: file.start,
    stop: file.stop,
  };
}

/** Whether the token may still do all that it could. */
function stillHas(tokens: readonly Token[], token: Token): boolean {
  const now = tokens.find(({ name }) => name === token.name);
  return now?.hash.equals(token.hash) === true && token.scopes.isSubsetOf(now.scopes);
}

/**
 * Reads lines of `NAME SCOPES SHA256`: a name of its own, scopes separated by commas, and the SHA-256 of the token as 64
 * hexadecimal digits. Lines that are empty or begin with `#` mean nothing.
 *
 * @throws Error that tells everything that is wrong, each with its line.
 */
export function parseTokens(text: string): readonly Token[] {
  const tokens: Token[] = [];
  const problems: string[] = [];
  text.split("\n").forEach((line, i) => {
    if (/^\s*(#|$)/.test(line)) return;
    const words = line.trim().split(/\s+/);
    const problem = problemOf(words, tokens);
    // What stands there is not repeated: it may be a token that was written down instead of its hash.
    if (problem !== null) problems.push(`line ${i + 1}: ${problem}`);
    else tokens.push(tokenOf(words));
  });
  if (problems.length > 0) throw new Error(problems.join("; "));
  if (tokens.length === 0) throw new Error("expected at least one token, found none");
  return tokens;
}

function problemOf(words: readonly string[], before: readonly Token[]): string | null {
  const [name = "", scopeList = "", hash = ""] = words;
  if (words.length !== 3) return "expected NAME SCOPES SHA256, separated by blanks";
  if (!/^[\w.-]{1,50}$/.test(name)) return "expected a name of 1 to 50 letters, digits or any of _ . -";
  if (before.some((token) => token.name === name)) {
    return `expected a name of its own for each token, "${name}" has a line before`;
  }
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
