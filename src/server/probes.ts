import type { RouteAnswer, ServerState } from "./http-router.ts";

export interface ProbesOptions {
  /** Whether the server can answer, and what does not work, or may be lost, though it can. Never rejects. */
  readonly readiness: () => Promise<{ readonly isReady: boolean; readonly warnings: readonly string[] }>;
  /** Names of queries of the operator's that are refused. */
  readonly refusedQueries: Iterable<string>;
}

/** The routes for platforms that run the server: whether it is alive, and whether it may get requests. */
export function createProbes({ readiness, refusedQueries }: ProbesOptions) {
  return {
    "/health": async () => okAnswer(Array.from(refusedQueries, refusedQuery)),
    async "/ready"({ isLeaving }: ServerState): Promise<RouteAnswer> {
      if (isLeaving) return unavailableAnswer("the server is stopping");
      const { isReady, warnings } = await readiness();
      return isReady ? okAnswer(warnings) : unavailableAnswer("Redis does not answer");
    },
  };
}

function okAnswer(warnings: readonly string[]): RouteAnswer {
  return { status: 200, body: { status: "ok", ...(warnings.length === 0 ? {} : { warnings }) } };
}

function unavailableAnswer(reason: string): RouteAnswer {
  return { status: 503, body: { status: "unavailable", reason } };
}

/** Without what was wrong: this needs no token, and the log has it. */
function refusedQuery(name: string): string {
  return `the query ${name} of POSTGRES_QUERY_FILE is refused, and its queues are not read: the log has the line and the reason`;
}
