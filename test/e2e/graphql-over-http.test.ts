import { serverAudits } from "graphql-http";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { uniquePrefix } from "../support/redis.ts";
import { startApp } from "../support/server.ts";

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

  test.each(audits.map((audit) => [audit.name, audit] as const))("%s", async (_, audit) => {
    // A recommendation that is not followed would be "warn", or "notice".
    expect(await audit.fn()).toEqual({ id: audit.id, name: audit.name, status: "ok" });
  });
});
