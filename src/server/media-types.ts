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
/** Of a longer header the pattern below would take too long. */
const maxPatternLength = 500;
/** With any parameter but `q=0`: they name the version of @defer or of subscriptions. */
const inParts = /\bmultipart\/mixed\b(?![^,]*;\s*q=0(\.0*)?\s*(,|$))/i;
/** Most clients send one of few headers; another one is negotiated each time. */
const maxCached = 100;
const maxCachedLength = 200;
const cache = new Map<string, readonly MediaType[]>();

/** The media types of a response that a client accepts, the one it prefers first. */
export function acceptedMediaTypes({ accept }: IncomingHttpHeaders): readonly MediaType[] {
  if (!accept) return mediaTypes;
  const known = cache.get(accept);
  if (known !== undefined) return known;
  const negotiator = new Negotiator({ headers: { accept } });
  const accepted = negotiator.mediaTypes([...offered.keys()]).flatMap((type) => offered.get(type) ?? []);
  // Clients ask so for @defer and @stream, which are not served: a result in one part is JSON.
  if (accepted.length === 0 && accept.length <= maxPatternLength && inParts.test(accept))
    accepted.push("application/json");
  if (cache.size < maxCached && accept.length <= maxCachedLength) cache.set(accept, accepted);
  return accepted;
}

/** Whether a page is accepted, and rather than a result of GraphQL. */
export function prefersPage({ accept }: IncomingHttpHeaders): boolean {
  if (accept?.toLowerCase().includes(page) !== true) return false;
  const [preferred] = new Negotiator({ headers: { accept } }).mediaTypes([...offered.keys(), page]);
  return preferred === page;
}
