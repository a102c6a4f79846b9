import { execFile } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, existsSync, readFileSync } from "node:fs";
import { chmod, mkdtemp, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import packageJson from "../../package.json" with { type: "json" };
import { attempts, freePort, uniquePrefix } from "../support/redis.ts";
import { post } from "../support/server.ts";
import { bearer, type TestTokens, tokenFile } from "../support/tokens.ts";
import { until } from "../support/until.ts";

const project = join(import.meta.dirname, "../..");
const run = promisify(execFile);

const isInstalled = (program: string) =>
  (process.env.PATH ?? "").split(delimiter).some((directory) => existsSync(join(directory, program)));
const whyNot =
  process.env.CI === "true" ||
  (["podman", "runc"].every(isInstalled) && existsSync(join(project, ".cache/image-base/debian.tar")))
    ? null
    : "needs Podman, runc and script/install-image-base";

/** A Python that has CycloneDX's library. */
const cycloneDx = join(project, ".cache/cyclonedx/bin/python3");
const hasCycloneDx = process.env.CI === "true" || existsSync(cycloneDx);

/** The image that the Dockerfile makes, and one container of it, without a Docker engine. */
describe.skipIf(whyNot !== null)(`the image${whyNot === null ? "" : ` (${whyNot})`}`, () => {
  let directory: string;
  let tokens: TestTokens;
  let container: { readonly id: string; readonly url: string };

  const podman = async (...args: string[]): Promise<string> => {
    const { stdout } = await run(join(directory, "podman"), args, { maxBuffer: 64 * 1024 * 1024 });
    return stdout.trim();
  };
  const inspect = async (what: "image" | "container", name: string) =>
    JSON.parse(await podman(what, "inspect", name))[0];
  /** Runs a program of Node.js in the container, beside the server. */
  const node = async (program: string): Promise<unknown> =>
    JSON.parse(await podman("exec", container.id, "node", "-e", program));

  beforeAll(async () => {
    directory = await mkdtemp(join(fastest(), "ql-image-"));
    // Else npm would take the settings of this project for those of the image's build.
    const env = Object.fromEntries(
      Object.entries(process.env).filter(([name]) => !/^npm_|^INIT_CWD$|^NODE_ENV$/.test(name)),
    );
    await run(join(project, "script/build-image"), [directory], { env, maxBuffer: 64 * 1024 * 1024 });
    tokens = await tokenFile({ reader: "read" });
    for (const path of [tokens.path, join(tokens.path, "..")]) await chmod(path, 0o755);
    container = await attempts(3, startContainer);
  }, 900_000);

  afterAll(async () => {
    if (existsSync(join(directory, "remove"))) await run(join(directory, "remove"));
    await tokens?.[Symbol.asyncDispose]();
  });

  /** With no privilege, and nothing that it can write to. */
  async function startContainer(): Promise<{ id: string; url: string }> {
    const port = await freePort();
    const settings = {
      REDIS_URL: inject("redisUrl"),
      KEY_PREFIX: uniquePrefix(),
      API_TOKENS_FILE: "/run/secrets/tokens",
      // It shares the network of this machine.
      HOST: "127.0.0.1",
      PORT: `${port}`,
    };
    const id = await podman(
      ...[
        "run",
        "--detach",
        "--read-only",
        "--read-only-tmpfs=false",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
      ],
      ...["--volume", `${tokens.path}:/run/secrets/tokens:ro`],
      ...Object.entries(settings).flatMap(([name, value]) => ["--env", `${name}=${value}`]),
      "queue-latency",
    );
    await until(async () => {
      const { State } = await inspect("container", id);
      if (State.Status !== "running") return;
      expect(await podman("logs", id)).toContain(`127.0.0.1:${port}/graphql`);
    });
    const { State } = await inspect("container", id);
    if (State.Status !== "running") throw new Error(`the container ended: ${await podman("logs", id)}`);
    return { id, url: `http://127.0.0.1:${port}` };
  }

  test("has a user that is not root, a health check, labels, and less than 200 MB", async () => {
    const { Config, Healthcheck, Labels, Size } = await inspect("image", "queue-latency");
    expect(Config).toMatchObject({ User: "1000:1000", ExposedPorts: { "4000/tcp": {} } });
    expect(Healthcheck.Test[0]).toBe("CMD");
    expect(Labels).toMatchObject({
      "org.opencontainers.image.title": packageJson.name,
      "org.opencontainers.image.licenses": packageJson.license,
      "org.opencontainers.image.source": packageJson.homepage.replace("#readme", ""),
    });
    // With Node.js and its libraries, uncompressed.
    expect(Size).toBeLessThan(200e6);
  });

  test("has Node.js and the package, and no shell or package manager", async () => {
    expect(await podman("run", "--rm", "queue-latency", "--version")).toBe(packageJson.version);
    const programs = ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin"];
    const list = `programs => programs.flatMap(path => fs.existsSync(path) ? fs.readdirSync(path) : [])`;
    expect(await node(`console.log(JSON.stringify((${list})(${JSON.stringify(programs)})))`)).toEqual([
      "node",
      "tini",
    ]);
    expect(await node("console.log(JSON.stringify(process.versions.node))")).toBe(process.versions.node);
  });

  test("has no source maps, and no types of its dependencies", async () => {
    const found = `[...fs.globSync("/app/**/*.map"), ...fs.globSync("/app/node_modules/**/*.{ts,cts,mts}")]`;
    expect(await node(`console.log(JSON.stringify(${found}))`)).toEqual([]);
    // The same search finds what is there.
    expect(await node(`console.log(fs.globSync("/app/node_modules/**/*.json").length)`)).toBeGreaterThan(50);
  });

  test.skipIf(!hasCycloneDx)("lists the packages that it has, as CycloneDX's schema asks", async () => {
    const found = await node(`
      const paths = fs.globSync("/app/**/node_modules/{*,@*/*}/package.json");
      const manifests = paths.map(path => JSON.parse(fs.readFileSync(path, "utf8")));
      console.log(JSON.stringify(manifests.map(({ name, version }) => name + "@" + version)))`);
    const text = JSON.stringify(await node(`console.log(fs.readFileSync("/app/lib/sbom.cdx.json", "utf8"))`));
    const { components, metadata } = JSON.parse(text) as Sbom;
    expect(metadata.component).toMatchObject({ name: packageJson.name, version: packageJson.version });
    const listed = components.map(({ name, version }) => `${name}@${version}`);
    // Copied into the dashboard's bundle.
    const bundled = listed.filter((name) => /^(preact|@preact\/signals(-core)?)@/.test(name));
    expect(bundled).toHaveLength(3);
    expect(listed.toSorted()).toEqual([...new Set([...(found as string[]), ...bundled])].toSorted());

    const file = join(directory, "sbom.json");
    await writeFile(file, text);
    await run(cycloneDx, ["-c", validate, file]);
    await writeFile(file, text.replace('"licenses"', '"licences"'));
    await expect(run(cycloneDx, ["-c", validate, file])).rejects.toThrow("licences");
  });

  test("makes tokens, for the file that the server reads", async () => {
    expect(await podman("run", "--rm", "queue-latency", "token", "ops", "read")).toMatch(
      /^ops read [0-9a-f]{64}$/m,
    );
  });

  test("serves the API and the dashboard, and its health check succeeds", async () => {
    const page = await (await fetch(`${container.url}/`)).text();
    const asset = /src="\.\/(assets\/main-[^"]+)"/.exec(page)?.[1];
    expect((await fetch(`${container.url}/${asset}`)).status).toBe(200);
    const query = '{ queueLatency(queues: ["default"]) { queue state latency } }';
    const { body } = await post(container.url, { query }, bearer("reader"));
    expect(body.data).toEqual({ queueLatency: [{ queue: "default", state: "MISSING", latency: null }] });
    // The image gives it 3 seconds, which can be too few on a busy machine.
    await until(() => podman("healthcheck", "run", container.id));
    const { Healthcheck } = await inspect("image", "queue-latency");
    const elsewhere = ["exec", "--env", "PORT=9", container.id, ...Healthcheck.Test.slice(1)];
    await expect(podman(...elsewhere)).rejects.toThrow();
  });

  test("runs without privileges, and can write nowhere", async () => {
    const status = await node(
      `console.log(JSON.stringify(Object.fromEntries(fs.readFileSync("/proc/1/status", "utf8").split("\\n").map(line => line.split(":\\t")))))`,
    );
    const ids = "1000\t1000\t1000\t1000";
    expect(status).toMatchObject({
      Name: "tini",
      Uid: ids,
      Gid: ids,
      CapEff: "0".repeat(16),
      NoNewPrivs: "1",
    });
    const write = `["/", "/app", "/tmp"].map(path => { try { fs.mkdirSync(path + "/new") } catch ({ code }) { return code } })`;
    for (const code of (await node(`console.log(JSON.stringify(${write}))`)) as string[])
      expect(code).toMatch(/^(EROFS|ENOENT|EACCES)$/);
    // What the image itself forbids, on a root that can be written.
    const forbidden =
      "try { fs.writeFileSync('/app/lib/main.js', '') } catch ({ code }) { console.log(code) }";
    const entrypoint = ["--entrypoint", JSON.stringify(["node", "-e", forbidden])];
    expect(await podman("run", "--rm", ...entrypoint, "queue-latency")).toBe("EACCES");
  });

  test("reaps processes whose parents have ended", async () => {
    // The child outlives the process that started it, and then is process 1's.
    const start = `require("child_process").spawn(process.execPath, ["-e", "setTimeout(() => {}, 100)"], { detached: true, stdio: "ignore" })`;
    const orphan = await node(`const child = ${start}; child.unref(); console.log(child.pid)`);
    expect(orphan).toBeGreaterThan(1);
    await until(async () =>
      expect(await node(`console.log(fs.existsSync("/proc/${orphan}/stat"))`)).toBe(false),
    );
  });

  test("ends at SIGTERM with code 0 while clients are connected", async () => {
    const { id, url } = await attempts(3, startContainer);
    const stream = await fetch(`${url}/graphql`, {
      method: "POST",
      headers: {
        ...bearer("reader"),
        accept: "text/event-stream",
        "content-type": "application/json",
      },
      body: JSON.stringify({ query: 'subscription { queueLatency(queues: ["default"]) { state } }' }),
    });
    const reader = stream.body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toContain(":");
    const { port } = new URL(url);
    const idle = createConnection(Number(port), "127.0.0.1").on("error", () => {});
    await once(idle, "connect");
    // After that Podman sends SIGKILL, and the code is 137.
    await podman("stop", "--time", "150", id);
    const { State } = await inspect("container", id);
    expect(State, await podman("logs", id)).toMatchObject({ Status: "exited", ExitCode: 0 });
    idle.destroy();
    await reader?.cancel().catch(() => {});
  });
});

interface Sbom {
  readonly components: readonly { readonly name: string; readonly version: string }[];
  readonly metadata: { readonly component: { readonly name: string; readonly version: string } };
}

const validate = `
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())
if error: sys.exit(repr(error))
`;

/** The build writes and removes a gigabyte in small files. */
function fastest(): string {
  try {
    accessSync("/dev/shm", constants.W_OK);
    return "/dev/shm";
  } catch {
    return tmpdir();
  }
}

test("the Dockerfile begins with the major version of Node.js that the tests run on", () => {
  const bases = [...readFileSync(join(project, "Dockerfile"), "utf8").matchAll(/^FROM (\S+)/gm)];
  expect(bases.map(([, name]) => name)).toEqual([
    `node:${process.versions.node.split(".")[0]}-slim`,
    "scratch",
  ]);
});
