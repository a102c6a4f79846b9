import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Identify, Scope } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import { callerOf } from "./caller.ts";

/** One text for programs other than GraphQL clients, by GET, with the scope to read it. */
export interface TextRoute {
  readonly contentType: string;
  /** What a token must be good for. */
  readonly scope: Scope;
  /** Pieces of the text, one after the other. Several requests may get them at once, so they are never written to. */
  readonly read: () => Promise<readonly Buffer[]>;
}

/**
 * Answers with a text, piece by piece, as fast as it is read at the other end. It costs no points: its cost for us must not
 * depend on how often it is asked for, which is for the route to see to.
 */
export function createTextRoutes(
  identify: Identify,
  refuse: (response: ServerResponse, error: AppError) => Promise<void>,
): (route: TextRoute, request: IncomingMessage, response: ServerResponse) => Promise<void> {
  return async ({ contentType, scope, read }, request, response) => {
    let pieces: readonly Buffer[];
    try {
      const { scopes } = identify(callerOf(request));
      if (!scopes.has(scope)) {
        const has = [...scopes].join(", ");
        throw new AppError("FORBIDDEN", `this needs a token with the scope "${scope}"; this one has ${has}`);
      }
      pieces = await read();
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      await refuse(response, error);
      return;
    }
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    response.writeHead(200, { "Content-Type": contentType, "Content-Length": length });
    await pipeline(Readable.from(pieces), response).catch((error: unknown) => {
      // The client hung up, or read nothing and was closed.
      if (!response.destroyed) throw error;
    });
  };
}
