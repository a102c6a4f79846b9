import type { IncomingMessage, ServerResponse } from "node:http";
import type { Client } from "../core/admission.ts";
import { AppError } from "../core/errors.ts";
import type { CrossOriginProtection } from "./cross-origin-protection.ts";
import type { Dashboard } from "./dashboard.ts";
import { endpoint } from "./endpoint.ts";
import { wantsPage } from "./graphiql.ts";
import type { AnswerGraphQL } from "./graphql-http.ts";
import { leavingError, type RefusalOptions, sendJson } from "./http-response.ts";
import { hasSeveral, oneOfEach, pathOf, targetOf } from "./request-target.ts";
import type { TextRoute } from "./text-routes.ts";

/** What a plain route answers: a status and a JSON body. */
export interface RouteAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** State of the server, for routes that report it. */
export interface ServerState {
  /** It was asked to stop, and takes nothing on any more. */
  readonly isLeaving: boolean;
}

export interface HttpRouterOptions {
  /** The path under which a proxy serves this server, such as `/queues`; it is taken away from a target that has it. */
  readonly basePath: string;
  /** The page at `/`. Without it nothing is there. */
  readonly dashboard: Pick<Dashboard, "has" | "answer"> | undefined;
  /** GET routes beside GraphQL, by path. They answer until the very end. */
  readonly routes: Readonly<Record<string, (state: ServerState) => Promise<RouteAnswer>>>;
  /** GET routes for programs that may, by path. */
  readonly texts: Readonly<Record<string, TextRoute>>;
  readonly sendText: (route: TextRoute, request: IncomingMessage, response: ServerResponse) => Promise<void>;
  readonly graphiql: (request: IncomingMessage, response: ServerResponse) => Promise<void>;
  readonly answerGraphQL: AnswerGraphQL;
  readonly browsers: CrossOriginProtection;
  readonly refuse: (response: ServerResponse, error: AppError, options?: RefusalOptions) => Promise<void>;
  /** Counts a refusal. @returns what resolves when it may be sent. */
  readonly holdBack: (response: ServerResponse) => Promise<void> | null;
  readonly isLeaving: () => boolean;
}

/** Finds what answers a request, and refuses what a page of another origin may not ask, and what no route serves. */
export function createHttpRouter({
  basePath,
  dashboard,
  routes,
  texts,
  sendText,
  graphiql,
  answerGraphQL,
  browsers,
  refuse,
  holdBack,
  isLeaving,
}: HttpRouterOptions): AnswerGraphQL {
  /** No link of another site's page leads there. */
  function isForPrograms(path: string): boolean {
    return path === endpoint || Object.hasOwn(texts, path);
  }

  async function serve(
    path: string,
    request: IncomingMessage,
    response: ServerResponse,
    sender: Client | AppError,
  ): Promise<void> {
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    const text = Object.hasOwn(texts, path) ? texts[path] : undefined;
    if (route !== undefined) {
      const { status, body } = await route({ isLeaving: isLeaving() });
      sendJson(response, status, body);
    } else if (isLeaving()) {
      await refuse(response, leavingError());
    } else if (path === endpoint) {
      if (wantsPage(request)) await graphiql(request, response);
      else await answerGraphQL(request, response, sender);
    } else if (text !== undefined) {
      await sendText(text, request, response);
    } else if (dashboard?.has(path) === true) {
      dashboard.answer(path, request, response);
    } else {
      await holdBack(response);
      sendJson(response, 404, { error: nothingHere });
    }
  }

  return async (request: IncomingMessage, response: ServerResponse, sender: Client | AppError) => {
    const target = targetOf(request, basePath);
    if (target === null || hasSeveral(request)) {
      await refuse(response, new AppError("BAD_REQUEST", `expected a path and ${oneOfEach}`));
      return;
    }
    request.url = target;
    const path = pathOf(target);
    const refusal = browsers.refusalOf(request, !isForPrograms(path) || wantsPage(request));
    if (refusal !== null) {
      await refuse(response, refusal);
      return;
    }
    const preflight = browsers.preflight(request);
    const allowed = path === endpoint ? ["GET", "HEAD", "POST"] : ["GET", "HEAD"];
    if (preflight !== null) response.writeHead(204, preflight).end();
    else if (request.method === "OPTIONS") response.writeHead(204, { Allow: allowed.join(", ") }).end();
    else if (!allowed.includes(request.method ?? "")) {
      const error = new AppError("METHOD_NOT_ALLOWED", wrongMethod(allowed, path === endpoint));
      await refuse(response, error, { status: 405, headers: { Allow: allowed.join(", ") } });
    } else await serve(path, request, response, sender);
  };
}

/** What a request for an unknown path gets. */
export const nothingHere = `nothing is here; the dashboard is at /, GraphQL and GraphiQL are at ${endpoint}`;

const wrongMethod = (allowed: readonly string[], isGraphQL: boolean) =>
  `expected one of the methods ${allowed.join(", ")}${isGraphQL ? "; graphql-sse needs its distinct connections mode, singleConnection is not supported" : ""}`;
