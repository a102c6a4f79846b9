import { defineConfig } from "vitest/config";

export default defineConfig({
  // vitest would take the package's ES module where Node takes its CommonJS one, and there must be one graphql only.
  resolve: { alias: [{ find: /^graphql$/, replacement: "graphql/index.js" }] },
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/global-setup.ts"],
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    retry: 0,
    sequence: { shuffle: true },
    allowOnly: false,
    dangerouslyIgnoreUnhandledErrors: false,
  },
});
