import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, delimiter, dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startRedis, type TestRedis } from "../support/redis.ts";

const project = join(import.meta.dirname, "../..");

/** One instruction of a Dockerfile, without its `--flags`; exec forms (JSON) as their words, all others as one word. */
interface Step {
  readonly instruction: string;
  readonly words: readonly string[];
  /** The stage that a COPY takes from; null: the project. */
  readonly from: string | null;
}

/** A machine with a Docker engine would build the image; this runs the steps of its Dockerfile in an empty folder. */
describe("the Dockerfile", () => {
  let stages: readonly Stage[];
  /** Of the last stage, which is the image. */
  let steps: readonly Step[];
  let dir: string;
  let redis: TestRedis;
  let server: Run | undefined;

  beforeAll(async () => {
    stages = stagesOf(parse(await readFile(join(project, "Dockerfile"), "utf8")));
    steps = stages.at(-1)?.steps ?? [];
    dir = await mkdtemp(join(tmpdir(), "ql-image-"));
    redis = await startRedis();
  });

  afterAll(async () => {
    server?.child.kill("SIGKILL");
    await redis?.stop();
    await rm(dir, { recursive: true, force: true });
  });

  test("stands on the major version of Node that the tests run on", () => {
    const images = stages.flatMap((stage) => wordsOf(stage.steps, "FROM").flat());
    expect(images).not.toEqual([]);
    for (const image of images)
      expect(image).toMatch(new RegExp(`^node:${process.versions.node.split(".")[0]}\\b`));
  });

  test("runs the server as a user that is not root", () => {
    const userAt = steps.findIndex((step) => step.instruction === "USER");
    expect(steps[userAt]?.words).toEqual(["node"]);
    expect(userAt).toBeLessThan(steps.findIndex((step) => step.instruction === "CMD"));
  });

  test("copies nothing that .dockerignore leaves out", async () => {
    const rules = (await readFile(join(project, ".dockerignore"), "utf8")).split("\n");
    expect(rules).toContain("*");
    const copied = stages.flatMap((stage) => copies(stage.steps)).filter(({ from }) => from === null);
    for (const source of copied.flatMap(({ sources }) => sources)) expect(rules).toContain(`!${source}`);
  });

  test("builds a server that answers, is healthy, and stops cleanly", { timeout: 600_000 }, async () => {
    const env = environment(steps, {
      REDIS_URL: redis.url,
      API_TOKENS_FILE: join(dir, "tokens"),
      PORT: "0",
    });
    for (const stage of stages) {
      const to = folderOf(stage);
      await mkdir(to, { recursive: true });
      // The cache mount is npm's own cache here; what it holds is not asked for again.
      const build = environment(stage.steps, { npm_config_prefer_offline: "true" });
      for (const step of stage.steps) {
        if (step.instruction === "COPY") await copy(step, to);
        if (step.instruction !== "RUN") continue;
        const ran = run(["sh", "-c", step.words.join(" ")], to, build);
        expect(await ran.ended, ran.output()).toBe(0);
      }
    }

    const app = join(dir, "app");
    const made = run(["node", "src/main.ts", "token", "test", "read"], app, env);
    const token = await made.says(/^(ql_\S+)$/m);
    expect(await made.ended, made.output()).toBe(0);

    const [command] = wordsOf(steps, "CMD");
    server = run(command ?? [], app, env);
    const port = await server.says(/http:\/\/\S+:(\d+)\/graphql/);
    const [health] = wordsOf(steps, "HEALTHCHECK");
    expect(health?.[0]).toBe("CMD");
    const check = run(health?.slice(1) ?? [], app, { ...env, PORT: port });
    expect(await check.ended, check.output() + server.output()).toBe(0);

    const queueLatency = '{ queueLatency(queues: ["default"]) { queue state latency } }';
    expect(await ask(port, token, "{ __typename }"), server.output()).toEqual({ __typename: "Query" });
    expect(await ask(port, token, queueLatency), server.output()).toEqual({
      queueLatency: [{ queue: "default", state: "MISSING", latency: null }],
    });

    const page = await fetch(`http://127.0.0.1:${port}/`);
    expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('src="./assets/main-')]);

    server.child.kill("SIGTERM");
    expect(await server.ended, server.output()).toBe(0);
  });

  /** `/app` of a stage. */
  function folderOf({ name }: Stage): string {
    return name === null ? join(dir, "app") : join(dir, `stage-${name}`);
  }

  async function copy(step: Step, folder: string): Promise<void> {
    for (const { from, sources, target } of copies([step])) {
      const isFolder = target.endsWith("/");
      if (isFolder) await mkdir(join(folder, target), { recursive: true });
      for (const source of sources) {
        const to = isFolder ? join(folder, target, basename(source)) : join(folder, target);
        const stage = stages.find(({ name }) => name === from && name !== null);
        const root = stage === undefined ? project : folderOf(stage);
        await cp(join(root, source.replace(/^\/app\//, "")), to, { recursive: true });
      }
    }
  }
});

interface Stage {
  /** Behind AS; null: the image. */
  readonly name: string | null;
  readonly steps: readonly Step[];
}

function stagesOf(steps: readonly Step[]): readonly Stage[] {
  const stages: { name: string | null; steps: Step[] }[] = [];
  for (const step of steps) {
    if (step.instruction === "FROM") {
      stages.push({ name: / AS (\S+)$/i.exec(step.words[0] ?? "")?.[1] ?? null, steps: [] });
    }
    stages.at(-1)?.steps.push(step);
  }
  return stages;
}

function parse(dockerfile: string): readonly Step[] {
  return dockerfile
    .replace(/^#.*\n/gm, "")
    .replace(/\\\n\s*/g, " ")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [, instruction = "", flags = "", text = ""] = /^(\w+)\s+((?:--\S+\s+)*)(.*)$/.exec(line) ?? [];
      const from = /--from=(\S+)/.exec(flags)?.[1] ?? null;
      const [, prefix = "", json] = /^(CMD )?\s*(\[.*\])$/.exec(text) ?? [];
      if (json === undefined) return { instruction, words: [text], from };
      return {
        instruction,
        from,
        words: [...(prefix === "" ? [] : ["CMD"]), ...(JSON.parse(json) as string[])],
      };
    });
}

function wordsOf(steps: readonly Step[], instruction: string): readonly (readonly string[])[] {
  return steps.filter((step) => step.instruction === instruction).map((step) => step.words);
}

interface Copy {
  readonly from: string | null;
  readonly sources: readonly string[];
  readonly target: string;
}

function copies(steps: readonly Step[]): readonly Copy[] {
  return steps
    .filter(({ instruction }) => instruction === "COPY")
    .map(({ from, words: [text = ""] }) => {
      const paths = text.split(/\s+/);
      return { from, sources: paths.slice(0, -1), target: paths.at(-1) ?? "" };
    });
}

/** The machine's environment as a fresh shell has it, then the image's, then the container's. */
function environment(steps: readonly Step[], container: Record<string, string>): Record<string, string> {
  const own = Object.entries(process.env).filter(
    // What `npm test` and vitest have set is of this project, not of the folder that the image is built in.
    ([name]) =>
      !/^(npm_(package|lifecycle|config_local_prefix|command)|INIT_CWD|VITEST|NODE_ENV$|TEST$)/.test(name),
  );
  const image = wordsOf(steps, "ENV").flatMap(([text = ""]) =>
    text.split(/\s+/).map((pair) => pair.split("=") as [string, string]),
  );
  const path = [dirname(process.execPath), process.env.PATH].join(delimiter);
  return { ...Object.fromEntries([...own, ...image]), PATH: path, ...container } as Record<string, string>;
}

interface Run {
  readonly child: ChildProcess;
  /** The exit code, or the name of the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  output(): string;
  /** Resolves with the pattern's first group once the output matches. */
  says(pattern: RegExp): Promise<string>;
}

function run(command: readonly string[], cwd: string, env: Record<string, string>): Run {
  const [file = "", ...args] = command;
  const child = spawn(file, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  const says = (pattern: RegExp) =>
    new Promise<string>((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(output)?.[1];
        if (match !== undefined) resolve(match);
      };
      child.stdout.on("data", look);
      ended.then((code) => reject(new Error(`ended with ${code}: ${output}`)), reject);
    });
  return { child, ended, output: () => output, says };
}

async function ask(port: string, token: string, query: string): Promise<unknown> {
  const response = await fetch(`http://127.0.0.1:${port}/graphql`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: JSON.stringify({ query }),
  });
  const { data, errors } = (await response.json()) as { data?: unknown; errors?: unknown };
  return errors ?? data;
}
