import { createHash, randomBytes } from "node:crypto";
import { fstatSync } from "node:fs";
import { appendFile, readFile } from "node:fs/promises";
import { messageOf, StartError } from "../core/errors.ts";
import { parseTokens } from "../settings/token-file.ts";

/**
 * Makes a token. Its secret is printed once and kept nowhere; its line is appended to the file, or printed too when there is none.
 *
 * @param words its name and its scopes.
 * @param file the value of API_TOKENS_FILE; empty: none.
 * @throws StartError when no token was made.
 */
export async function makeToken(words: readonly string[], file: string): Promise<void> {
  const [name = "", scopes = "", ...rest] = words;
  if (name === "" || scopes === "" || rest.length > 0) {
    throw new StartError(
      "usage: queue-latency token NAME SCOPES, such as: queue-latency token dashboard read,record,admin",
    );
  }
  // People, and programs that scan for secrets, recognize it by its prefix.
  const secret = `ql_${randomBytes(32).toString("base64url")}`;
  const line = `${name} ${scopes} ${createHash("sha256").update(secret).digest("hex")}`;
  try {
    await append(line, file);
  } catch (error) {
    throw new StartError(`no token was made: ${messageOf(error)}`);
  }
  // `queue-latency token ops read > tokens` makes the file: the secret is for the terminal, and the line for the file.
  const isRedirected = file === "" && fstatSync(1).isFile();
  const terminal = isRedirected ? process.stderr : process.stdout;
  terminal.write(`Token, for ${name} alone; it is shown this once:\n${secret}\n`);
  if (isRedirected) process.stdout.write(`${line}\n`);
  else if (file === "") process.stdout.write(`Line for the file that API_TOKENS_FILE names:\n${line}\n`);
  else process.stdout.write(`Its line was added to ${file}. A running server knows it within two seconds.\n`);
}

async function append(line: string, file: string): Promise<void> {
  const before = file === "" ? "" : await readFile(file, "utf8").catch(ifMissing);
  const separator = before === "" || before.endsWith("\n") ? "" : "\n";
  parseTokens(before + separator + line);
  if (file !== "") await appendFile(file, `${separator}${line}\n`, { mode: 0o600 });
}

function ifMissing(error: NodeJS.ErrnoException): string {
  if (error.code === "ENOENT") return "";
  throw error;
}
