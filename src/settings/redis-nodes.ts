import { z } from "zod";
import { isUrl } from "./fields.ts";

const url =
  "redis://[user:password@]host[:port][/db], or rediss:// for TLS; of a Redis Cluster several nodes, separated by commas";

/** One Redis; or several nodes of a Redis Cluster, which know of all others; empty when it is not set. */
export function redisNodes() {
  return z
    .string()
    .optional()
    .transform((text, context) => {
      const urls = text === undefined ? [] : urlsIn(text);
      const problems = urls.length > 1 ? problemsOfCluster(urls) : urls.every(isNode) ? [] : [url];
      for (const problem of problems) context.addIssue({ code: "custom", message: `expected ${problem}` });
      return problems.length > 0 ? z.NEVER : urls;
    });
}

/** A password may have commas, too: only one in front of the next URL separates. */
function urlsIn(text: string): readonly string[] {
  return text.split(/,\s*(?=rediss?:\/\/)/);
}

function isNode(text: string): boolean {
  return isUrl(text, ["redis:", "rediss:"]) && !new URL(text).hostname.includes(",");
}

/** What is wrong, and with which nodes: they are told by their places, for each may hold a password. */
function problemsOfCluster(urls: readonly string[]): readonly string[] {
  const readable = urls.filter(isNode);
  const hasDb = (text: string) => !/^\/?0?$/.test(new URL(text).pathname);
  const access = (text: string) => {
    const { protocol, username, password } = new URL(text);
    return JSON.stringify([protocol, username, password]);
  };
  const rules = [
    { expected: url, wrong: urls.filter((each) => !isNode(each)) },
    { expected: "no db behind a node of a Redis Cluster, which has only one", wrong: readable.filter(hasDb) },
    {
      expected: "the same scheme, user and password for all nodes of a Redis Cluster",
      wrong: readable.filter((each) => access(each) !== access(readable[0] ?? each)),
    },
  ];
  return rules
    .filter(({ wrong }) => wrong.length > 0)
    .map(({ expected, wrong }) => {
      const places = urls.flatMap((each, i) => (wrong.includes(each) ? [i + 1] : []));
      return `${expected}; wrong: number ${places.join(", ")} of ${urls.length}`;
    });
}
