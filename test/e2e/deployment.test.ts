import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const project = join(import.meta.dirname, "../..");
const run = promisify(execFile);

/** A copy of what is deployed, to change. */
let copy: string;
beforeAll(async () => {
  copy = await mkdtemp(join(tmpdir(), "ql-deploy-"));
});
afterAll(() => rm(copy, { recursive: true, force: true }));

const checker = join(project, ".cache/check-deployment/check-deployment");
const hasChecker = process.env.CI === "true" || existsSync(checker);

/** What the code of Compose, or of Kustomize and Kubernetes, reads. @throws what it refuses. */
async function check(kind: "compose" | "kubernetes", path: string) {
  const { stdout } = await run(checker, [kind, path], { maxBuffer: 16 * 1024 * 1024 });
  return JSON.parse(stdout);
}

/** The copy of a file with one text in place of another one. */
async function changed(path: string, from: string, to: string): Promise<string> {
  await cp(join(project, path), join(copy, path), { recursive: true });
  const text = await readFile(join(copy, path), "utf8");
  expect(text).toContain(from);
  await writeFile(join(copy, path), text.replace(from, to));
  return join(copy, path);
}

describe.skipIf(!hasChecker)(
  `what is deployed${hasChecker ? "" : " (needs script/install-check-deployment)"}`,
  () => {
    test("is a project of Compose: a server without privileges, and a Redis that is healthy before", async () => {
      const { services } = await check("compose", join(project, "compose.yaml"));
      expect(services.server).toMatchObject({
        read_only: true,
        cap_drop: ["ALL"],
        security_opt: ["no-new-privileges:true"],
        depends_on: { redis: { condition: "service_healthy" } },
      });
    });

    test.each([
      ["a key that is misspelt", "read_only: true", "readonly: true", "readonly"],
      ["a value of another type", "read_only: true", "read_only: [yes]", "read_only"],
      ["a secret that is not there", "      - tokens", "      - token", "undefined secret"],
    ])("as Compose refuses %s", async (_, from, to, reason) => {
      await expect(check("compose", await changed("compose.yaml", from, to))).rejects.toThrow(reason);
    });

    interface KubernetesObject {
      readonly kind: string;
      readonly spec: Readonly<Record<string, unknown>> & {
        readonly selector?: object;
        readonly podSelector?: object;
        readonly template: {
          readonly metadata: { readonly labels: object };
          readonly spec: Readonly<Record<string, unknown>>;
        };
      };
    }

    test("is a base of Kustomize, whose objects select the servers", async () => {
      const objects: KubernetesObject[] = await check("kubernetes", join(project, "deploy/kubernetes"));
      const kinds = ["Deployment", "Service", "ServiceMonitor", "PodDisruptionBudget", "NetworkPolicy"];
      expect(objects.map(({ kind }) => kind)).toEqual(kinds);
      const [deployment, ...others] = objects;
      const matchLabels = deployment!.spec.template.metadata.labels;
      for (const { kind, spec } of others)
        expect(spec.selector ?? spec.podSelector, kind).toEqual(
          kind === "Service" ? matchLabels : { matchLabels },
        );
      const dockerfile = await readFile(join(project, "Dockerfile"), "utf8");
      const { securityContext } = deployment!.spec.template.spec as {
        securityContext: { runAsUser: number };
      };
      expect(dockerfile).toContain(`\nUSER ${securityContext.runAsUser}:`);
    });

    test.each([
      ["a field that is misspelt", "readinessProbe", "readynessProbe", "readynessProbe"],
      ["a value of another type", "replicas: 2", "replicas: two", "replicas"],
      ["a user that is root", "runAsNonRoot: true\n        runAsUser: 1000", "runAsUser: 0", "runAsNonRoot"],
      [
        "a privilege",
        "allowPrivilegeEscalation: false",
        "allowPrivilegeEscalation: true",
        "allowPrivilegeEscalation",
      ],
    ])("as Kubernetes and its Pod Security Standard refuse %s", async (_, from, to, reason) => {
      await cp(join(project, "deploy/kubernetes"), join(copy, "deploy/kubernetes"), { recursive: true });
      await changed("deploy/kubernetes/deployment.yaml", from, to);
      await expect(check("kubernetes", join(copy, "deploy/kubernetes"))).rejects.toThrow(reason);
    });
  },
);

const hasSystemd = process.env.CI === "true" || existsSync("/usr/bin/systemd-analyze");
describe.skipIf(!hasSystemd)(`the unit for systemd${hasSystemd ? "" : " (needs systemd-analyze)"}`, () => {
  const unit = "deploy/systemd/queue-latency.service";
  const security = (file: string) =>
    run("systemd-analyze", ["security", "--offline=true", "--threshold=20", "--no-pager", file]);

  test("has no line that systemd does not know", async () => {
    const { stderr } = await run("systemd-analyze", ["verify", join(project, unit)]);
    expect(stderr).not.toContain("queue-latency.service");
    const wrong = await changed(unit, "ProtectHome=yes", "ProtectHomes=yes");
    const verified = await run("systemd-analyze", ["verify", wrong]).catch((error) => error);
    expect(verified.stderr).toContain("ProtectHomes");
  });

  test.each([
    ["KillMode=mixed", "the server needs its redis-server until its last answer"],
    ["StartLimitIntervalSec=0", "a Redis that is away at boot comes at some time"],
    ["MemoryMax=3G", "the server and its redis-server have one limit"],
  ])("has %s: %s", async (line) => {
    expect((await readFile(join(project, unit), "utf8")).split("\n")).toContain(line);
  });

  test("leaves the server little that it could harm", async () => {
    // Its exposure is at most 2.0 of 10.
    expect((await security(join(project, unit))).stdout).toContain("OK");
    const open = await changed(unit, "CapabilityBoundingSet=\n", "");
    await expect(security(open)).rejects.toThrow();
  });
});
