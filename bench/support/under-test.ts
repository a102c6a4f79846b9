import { startServer, type TestServer } from "../../test/support/server.ts";
import { tokenFile } from "../../test/support/tokens.ts";

/** Clients of the server: each has 40 of 1,000 subscribers, so that the usual bound of 50 holds. */
export const loadTokens: readonly string[] = Array.from({ length: 25 }, (_, i) => `load-${i}`);

/** Settings of the server beside those it always has here. */
export type Settings = Readonly<Record<string, string>>;

/**
 * Starts src/main.ts, as `npm start` does, with tokens and with every limit on. The only one that is not the usual one is how
 * many points a client has in a minute, since a benchmark asks for more than any client should; they are taken all the same.
 *
 * @param tokens more of them: scopes by name.
 */
export async function startUnderTest(
  redisUrl: string,
  settings: Settings = {},
  tokens: Readonly<Record<string, string>> = {},
): Promise<TestServer> {
  const usual = loadTokens.map((name) => [name, "read,record"]);
  const file = await tokenFile({ ...Object.fromEntries(usual), ...tokens });
  const profile = process.env.BENCH_PROFILE_DIR;
  const server = await startServer({
    REDIS_URL: redisUrl,
    API_TOKENS_FILE: file.path,
    RATE_LIMIT_MAX: "1000000000",
    RECORD_RATE_LIMIT: "1000000000",
    LOG_LEVEL: "warn",
    NODE_ENV: "production",
    ...(profile === undefined ? {} : { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profile}` }),
    ...settings,
  });
  return {
    ...server,
    async [Symbol.asyncDispose]() {
      await server.stop();
      await file[Symbol.asyncDispose]();
      // What it warns of while it is measured may be why its numbers are what they are.
      if (server.stderr() !== "") process.stderr.write(`The server said:\n${server.stderr()}`);
    },
  };
}
