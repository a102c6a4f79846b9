import { readdir, readFile } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { extname, join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import Negotiator from "negotiator";
import type { Logger } from "../runtime/logger.ts";
import type { Service } from "../runtime/service.ts";
import { policyOf, sendText } from "./http-response.ts";
import { etagOf, sendPage } from "./send-page.ts";

export interface DashboardOptions {
  /** What `npm run build` has written: index.html, assets/ and documents.json. */
  readonly directory: string;
  /** The path under which a proxy serves this server; empty: none, or the proxy takes it away. */
  readonly basePath: string;
  readonly logger: Logger;
}

/** The web page at `/`, its other paths, and its assets. It shows no queue by itself, so that it needs no token. */
export interface Dashboard extends Service {
  /** Whether it is one of the documents that the page sends. */
  hasDocument(text: string): boolean;
  /** Whether a path leads to a page or an asset. */
  has(path: string): boolean;
  /** Answers GET and HEAD. */
  answer(path: string, request: IncomingMessage, response: ServerResponse): void;
}

type Encoding = "br" | "gzip" | "identity";

interface Asset {
  readonly contentType: string;
  readonly etag: string;
  readonly bodies: Readonly<Record<Encoding, Buffer>>;
}

const contentTypes: Readonly<Record<string, string>> = {
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
};

/**
 * Scripts and styles from this server only, and none in the page. `data:` is for the icon of the tab. That `connect-src 'self'` covers the
 * WebSocket is younger than 'self' (Chromium and Firefox 2018, WebKit 2022), but older than `light-dark()`, which the styles need.
 */
const contentSecurityPolicy = policyOf(
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
);

/** The dashboard from memory: read and compressed once, when the server starts. */
export function createDashboard({ directory, basePath, logger }: DashboardOptions): Dashboard {
  let page: string | null = null;
  let assets: ReadonlyMap<string, Asset> = new Map();
  let documents: ReadonlySet<string> = new Set();

  function answerPage(path: string, request: IncomingMessage, response: ServerResponse): void {
    if (page === null) {
      sendText(response, "text/plain", notBuilt, { status: 503, headers: {} });
      return;
    }
    // Smaller than a packet: compressed it would not be faster.
    const body = Buffer.from(page.replaceAll("%BASE%", basePath === "" ? upFrom(path) : `${basePath}/`));
    sendPage(request, response, body, {
      ETag: etagOf(body),
      "Cache-Control": "no-cache",
      "Content-Type": "text/html; charset=utf-8",
      "Content-Security-Policy": contentSecurityPolicy,
    });
  }

  function answerAsset(
    { contentType, etag, bodies }: Asset,
    request: IncomingMessage,
    response: ServerResponse,
  ): void {
    const encoding = encodingFor(request);
    sendPage(request, response, bodies[encoding], {
      ETag: `"${etag}-${encoding}"`,
      // Its name has a hash: another content has another name.
      "Cache-Control": "public, max-age=31536000, immutable",
      "Content-Type": contentType,
      ...(encoding !== "identity" && { "Content-Encoding": encoding }),
      Vary: "Origin, Accept-Encoding",
    });
  }

  return {
    async start() {
      try {
        assets = await readAssets(join(directory, "assets"));
        documents = new Set(
          JSON.parse(await readFile(join(directory, "documents.json"), "utf8")) as string[],
        );
        page = await readFile(join(directory, "index.html"), "utf8");
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
        logger.warn(
          { directory },
          "the dashboard is not built: run npm run build, and start the server again",
        );
      }
    },
    stop: async () => {},
    hasDocument: (text) => documents.has(text),
    has: (path) => isPage(path) || assets.has(path),
    answer(path, request, response) {
      const asset = assets.get(path);
      if (asset === undefined) answerPage(path, request, response);
      else answerAsset(asset, request, response);
    },
  };
}

const notBuilt =
  "The dashboard is not built. Run npm run build, and start the server again.\nGraphQL and GraphiQL are at /graphql.\n";

/** A name has 200 bytes at most. Each is up to three characters, and behind a slash one more. */
function isPage(path: string): boolean {
  return path === "/" || path === "/alerts" || /^\/queues\/.{1,900}$/.test(path);
}

/** Relative, for a proxy that takes a path away: `/queues/mail` is one level below `/`. */
function upFrom(path: string): string {
  const depth = path.split("/").length - 2;
  return depth === 0 ? "./" : "../".repeat(depth);
}

async function readAssets(directory: string): Promise<ReadonlyMap<string, Asset>> {
  const names = (await readdir(directory)).filter((name) => !name.startsWith("."));
  const read = names.map(async (name) => {
    const content = await readFile(join(directory, name));
    const asset: Asset = {
      contentType: contentTypes[extname(name)] ?? "application/octet-stream",
      etag: etagOf(content).slice(1, -1),
      bodies: {
        identity: content,
        gzip: await promisify(gzip)(content, { level: 9 }),
        br: await promisify(brotliCompress)(content, {
          params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY },
        }),
      },
    };
    return [`/assets/${name}`, asset] as const;
  });
  return new Map(await Promise.all(read));
}

/** Brotli where the client takes it, since it is the smallest. */
function encodingFor(request: IncomingMessage): Encoding {
  const accepted = new Negotiator(request).encodings(["br", "gzip", "identity"]);
  return (["br", "gzip"] as const).find((encoding) => accepted.includes(encoding)) ?? "identity";
}
