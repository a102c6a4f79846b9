import { z } from "zod";
import { parseRedisUrl, redisParameters } from "./redis-url.ts";
import { parametersProblem, tlsProblem } from "./url-parameters.ts";

const url =
  "redis://[user:password@]host[:port][/db], or rediss:// for TLS; of a Redis Cluster several nodes, separated by commas; " +
  "by Sentinel redis+sentinel://[user:password@]host[:port][,host[:port]]/MASTER[?db=N]; by Unix socket unix:///PATH[?db=N]; " +
  "percent-encode reserved characters in user, password and path";

/** One Redis; or several nodes of a Redis Cluster, which know of all others; empty when it is not set. */
export function redisNodes() {
  return z
    .string()
    .optional()
    .transform((text, context) => {
      const urls = text === undefined ? [] : urlsIn(text);
      const problems =
        urls.length > 1 ? problemsOfCluster(urls) : urls.flatMap((each) => redisProblem(each) ?? []);
      for (const problem of problems) context.addIssue({ code: "custom", message: `expected ${problem}` });
      return problems.length > 0 ? z.NEVER : urls;
    });
}

/** A password may have commas, too: only one in front of the next URL separates. */
function urlsIn(text: string): readonly string[] {
  return text.split(/,\s*(?=(?:rediss?|(?:redis\+)?unix|rediss?\+sentinel):\/\/)/);
}

/**
 * What was expected instead of the URL of a Redis; null when it is right.
 *
 * @param expected what to say of a text that is none.
 * @param parameters known ones beside those that say how to connect.
 */
export function redisProblem(
  text: string,
  expected = url,
  parameters: readonly string[] = [],
): string | null {
  const parsed = parseRedisUrl(text);
  if (parsed === null) return expected;
  const isSentinel = parsed.masterName !== null;
  const known = redisParameters.filter((name) => isSentinel || !name.startsWith("sentinel"));
  return (
    parametersProblem(parsed.parameters, [...parameters, ...known]) ??
    tlsProblem(parsed.parameters, parsed.isTls, "rediss:// or rediss+sentinel://")
  );
}

/** What is wrong, and with which nodes: they are named by their places, for each may hold a password. */
function problemsOfCluster(urls: readonly string[]): readonly string[] {
  const nodes = urls.map((text) => ({ text, parsed: parseRedisUrl(text) }));
  const isNode = ({ parsed }: (typeof nodes)[number]) =>
    parsed !== null && parsed.socketPath === null && parsed.masterName === null;
  const readable = nodes.filter(isNode);
  const access = ({ parsed }: (typeof nodes)[number]) =>
    JSON.stringify([parsed?.isTls, parsed?.username, parsed?.password]);
  const parameters = ({ parsed }: (typeof nodes)[number]) => parsed?.parameters.toString();
  const first = readable[0];
  const rules = [
    { expected: url, wrong: nodes.filter((node) => !isNode(node)) },
    {
      expected: "no db behind a node of a Redis Cluster, which has only one",
      wrong: readable.filter(({ parsed }) => parsed?.db !== 0),
    },
    {
      expected: "the same scheme, user and password for all nodes of a Redis Cluster",
      wrong: readable.filter((node) => first !== undefined && access(node) !== access(first)),
    },
    {
      expected: "the same parameters for all nodes of a Redis Cluster",
      wrong: readable.filter((node) => first !== undefined && parameters(node) !== parameters(first)),
    },
  ];
  const problems = rules
    .filter(({ wrong }) => wrong.length > 0)
    .map(({ expected, wrong }) => {
      const places = nodes.flatMap((node, i) => (wrong.includes(node) ? [i + 1] : []));
      return `${expected}; wrong: number ${places.join(", ")} of ${urls.length}`;
    });
  // They all have the same.
  return problems.length > 0 ? problems : urls.slice(0, 1).flatMap((text) => redisProblem(text) ?? []);
}
