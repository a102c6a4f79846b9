import { z } from "zod";
import { isUrl } from "./fields.ts";

/** Where a StatsD listens for datagrams. */
export interface StatsdAddress {
  readonly host: string;
  readonly port: number;
}

const defaultPort = 8125;

/** Such as `udp://127.0.0.1:8125`; null when it is not set. */
export function statsdUrl() {
  return z
    .string()
    .optional()
    .transform((text, context): StatsdAddress | null => {
      if (text === undefined) return null;
      const url = isUrl(text, ["udp:"]) ? new URL(text) : null;
      const isPlain = url !== null && [url.username, url.password, url.search, url.hash].join("") === "";
      if (isPlain && /^\/?$/.test(url.pathname) && url.port !== "0") {
        const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
        return { host, port: url.port === "" ? defaultPort : Number(url.port) };
      }
      context.addIssue({ code: "custom", message: "expected udp://host[:port]" });
      return z.NEVER;
    });
}
