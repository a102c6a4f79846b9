/** Makes a token: npm run token -- NAME SCOPES. Its secret is printed once and kept nowhere. */
import { createHash, randomBytes } from "node:crypto";
import { fstatSync } from "node:fs";
import { appendFile, readFile } from "node:fs/promises";
import { messageOf } from "../src/core/errors.ts";
import { parseTokens } from "../src/settings/token-file.ts";

const [name = "", scopes = "", ...rest] = process.argv.slice(2);
const file = process.env.API_TOKENS_FILE ?? "";

// People, and programs that scan for secrets, recognize it by its prefix.
const secret = `ql_${randomBytes(32).toString("base64url")}`;
const line = `${name} ${scopes} ${createHash("sha256").update(secret).digest("hex")}`;

if (name === "" || scopes === "" || rest.length > 0) {
  fail("usage: npm run token -- NAME SCOPES, such as: npm run token -- dashboard read,record,admin");
}
try {
  const before = file === "" ? "" : await readFile(file, "utf8").catch(ifMissing);
  const separator = before === "" || before.endsWith("\n") ? "" : "\n";
  parseTokens(before + separator + line);
  if (file !== "") await appendFile(file, `${separator}${line}\n`, { mode: 0o600 });
} catch (error) {
  fail(`no token was made: ${messageOf(error)}`);
}
// `npm run token -- ops read > tokens` makes the file: the secret is for the terminal, and the line for the file.
const isRedirected = file === "" && fstatSync(1).isFile();
const terminal = isRedirected ? process.stderr : process.stdout;
terminal.write(`Token, for ${name} alone; it is shown this once:\n${secret}\n`);
if (isRedirected) process.stdout.write(`${line}\n`);
else if (file === "") process.stdout.write(`Line for the file that API_TOKENS_FILE names:\n${line}\n`);
else process.stdout.write(`Its line was added to ${file}. A running server knows it within two seconds.\n`);

function ifMissing(error: NodeJS.ErrnoException): string {
  if (error.code === "ENOENT") return "";
  throw error;
}

function fail(message: string): never {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
