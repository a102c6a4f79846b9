import { serverAudits } from "graphql-http";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { uniquePrefix } from "../support/redis.ts";
import { startApp } from "../support/server.ts";
import { websocketTransport } from "../support/streams.ts";

describe("GraphQL over HTTP, as graphql-http audits it", () => {
  let app: Awaited<ReturnType<typeof startApp>>;
  beforeAll(async () => {
    app = await startApp({ REDIS_URL: inject("redisUrl"), KEY_PREFIX: uniquePrefix() });
  });
  afterAll(() => app.stop());

  const audits = serverAudits({ url: () => `${app.url}/graphql` });

  test("has its audits, of which none is left out", () => {
    expect(audits.length).toBeGreaterThanOrEqual(61);
  });

  test("is the same for a document that came over a WebSocket first", async () => {
    const query = "{ no GraphQL at all";
    await using socket = websocketTransport(app.url);
    expect((await socket.subscribe(query).next()).value?.errors).toHaveLength(1);
    const answer = await fetch(`${app.url}/graphql`, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/graphql-response+json" },
      body: JSON.stringify({ query }),
    });
    expect(answer.status).toBe(400);
    await answer.body?.cancel();
  });

  test.each(audits.map((audit) => [audit.name, audit] as const))("%s", async (_, audit) => {
    // A recommendation that is not followed would be "warn", or "notice".
    expect(await audit.fn()).toEqual({ id: audit.id, name: audit.name, status: "ok" });
  });
});
