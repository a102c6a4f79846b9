import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A file of tokens: of each, its name is its secret, too. */
export interface TestTokens extends AsyncDisposable {
  readonly path: string;
  /** Writes it anew: scopes by name. */
  write(scopesByName: Readonly<Record<string, string>>): Promise<void>;
}

export async function tokenFile(scopesByName: Readonly<Record<string, string>>): Promise<TestTokens> {
  const dir = await mkdtemp(join(tmpdir(), "ql-tokens-"));
  const path = join(dir, "tokens");
  const write = (tokens: Readonly<Record<string, string>>) => {
    const lines = Object.entries(tokens).map(([name, scopes]) => `${name} ${scopes} ${sha256(name)}\n`);
    return writeFile(path, lines.join(""));
  };
  await write(scopesByName);
  return { path, write, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) };
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

export function bearer(token: string): { readonly authorization: string } {
  return { authorization: `Bearer ${token}` };
}
