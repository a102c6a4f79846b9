import type { IncomingHttpHeaders } from "node:http";
import Negotiator from "negotiator";

export type MediaType = "application/json" | "application/graphql-response+json" | "text/event-stream";

/** In the order of the server's preference. */
export const mediaTypes: readonly MediaType[] = [
  "application/json",
  "application/graphql-response+json",
  "text/event-stream",
];

const withCharset = (type: MediaType) => `${type}; charset=utf-8`;
const offered = new Map(mediaTypes.map((type) => [withCharset(type), type]));
const page = "text/html";
/** Most clients send one of few headers; another one is negotiated each time. */
const maxCached = 100;
const maxCachedLength = 200;
const cache = new Map<string, readonly MediaType[]>();

/** The media types of a response that a client accepts, the one it prefers first. */
export function acceptedMediaTypes({ accept }: IncomingHttpHeaders): readonly MediaType[] {
  if (!accept) return mediaTypes;
  const known = cache.get(accept);
  if (known !== undefined) return known;
  const accepted = new Negotiator({ headers: { accept } })
    .mediaTypes([...offered.keys()])
    .flatMap((type) => offered.get(type) ?? []);
  if (cache.size < maxCached && accept.length <= maxCachedLength) cache.set(accept, accepted);
  return accepted;
}

/** Whether a page is accepted, and rather than a result of GraphQL. */
export function prefersPage({ accept }: IncomingHttpHeaders): boolean {
  if (accept?.toLowerCase().includes(page) !== true) return false;
  const [preferred] = new Negotiator({ headers: { accept } }).mediaTypes([...offered.keys(), page]);
  return preferred === page;
}
