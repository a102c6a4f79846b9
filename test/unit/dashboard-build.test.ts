import { execFile } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, unlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDashboard } from "../../src/server/dashboard.ts";
import { recordingLogger } from "../support/logger.ts";

const project = join(import.meta.dirname, "../..");
let copy: string;

/** A project of its own, with the packages of this one. */
beforeAll(async () => {
  copy = await mkdtemp(join(tmpdir(), "ql-build-"));
  await mkdir(join(copy, "script"));
  for (const file of ["src/dashboard", "script/build-dashboard.ts", "package.json", "package-lock.json"])
    await cp(join(project, file), join(copy, file), { recursive: true });
  await symlink(join(project, "node_modules"), join(copy, "node_modules"));
});
afterAll(() => rm(copy, { recursive: true, force: true }));

async function build() {
  const { stderr } = await promisify(execFile)(process.execPath, ["script/build-dashboard.ts"], {
    cwd: copy,
  });
  const assets = await readdir(join(copy, "dist/dashboard/assets")).catch(() => []);
  return { stderr, assets: assets.toSorted() };
}

/** The status and the text of `/` of a server that has this bundle, and what it logged. */
async function serve(directory: string) {
  const logger = recordingLogger();
  const dashboard = createDashboard({ directory, basePath: "", logger });
  await dashboard.start();
  const server = createServer((request, response) => dashboard.answer("/", request, response));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
    return {
      status: response.status,
      text: await response.text(),
      messages: logger.lines.map(({ message }) => message),
    };
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test("is built once for the same sources, anew for others, and stays as it is without esbuild", async () => {
  const first = await build();
  expect(first.assets.map((name) => name.replace(/-\w{8}\./, "."))).toEqual(["main.js", "styles.css"]);
  const page = await serve(join(copy, "dist/dashboard"));
  expect(page).toMatchObject({ status: 200, messages: [] });
  for (const name of first.assets) expect(page.text).toContain(`"./assets/${name}"`);

  // What is fresh is not written again.
  await writeFile(join(copy, "dist/dashboard/assets", first.assets[0]!), "kept");
  expect(await build()).toEqual(first);
  expect(await readFile(join(copy, "dist/dashboard/assets", first.assets[0]!), "utf8")).toBe("kept");

  await writeFile(join(copy, "src/dashboard/styles/base.css"), "body { margin: 7px; }");
  const second = await build();
  expect(second.assets).toHaveLength(2);
  expect(second.assets[1]).not.toBe(first.assets[1]);

  await writeFile(join(copy, "src/dashboard/styles/base.css"), "body { margin: 8px; }");
  await unlink(join(copy, "node_modules"));
  const third = await build();
  expect(third.stderr).toContain("esbuild is not installed");
  expect(third.assets).toEqual(second.assets);
});

test("is named in the log and at / where it is missing", async () => {
  const { status, text, messages } = await serve(join(copy, "nowhere"));
  expect(status).toBe(503);
  expect(text).toContain("npm run build");
  expect(messages).toEqual([expect.stringContaining("the dashboard is not built")]);
});
