import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { type ReceivedRequest, startReceiver } from "./http-receiver.ts";
import { isOnPath } from "./programs.ts";

const binary = "prometheus-alertmanager";

/** Why tests with an Alertmanager are to be skipped; null when they can run, and in CI, where they must. */
export const whyNoAlertmanager: string | null =
  process.env.CI === "true" || isOnPath(binary) ? null : `${binary} is not on the PATH`;

export interface AlertmanagerAlert {
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly startsAt: string;
  readonly endsAt: string;
}

/** A real Alertmanager, which knows no other, and notifies the test of everything at once. */
export interface TestAlertmanager {
  readonly url: string;
  /** What is active there now. */
  alerts(): Promise<readonly AlertmanagerAlert[]>;
  /** What it has notified of, in order, as `status alertname queue`. */
  readonly notified: () => readonly string[];
  /** The same as requests. */
  readonly received: readonly ReceivedRequest[];
}

/** @param configFor by the URL that receives the notifications: in place of one that notifies of each alert at once. */
export async function startAlertmanager(
  configFor: (url: string) => object = configOfTests,
): Promise<TestAlertmanager> {
  const receiver = await startReceiver();
  const dir = await mkdtemp(join(tmpdir(), "ql-alertmanager-"));
  // JSON is YAML.
  await writeFile(join(dir, "config.yml"), JSON.stringify(configFor(receiver.url)));
  const args = [
    ...[`--config.file=${join(dir, "config.yml")}`, `--storage.path=${dir}`],
    ...["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="],
  ];
  const child = spawn(binary, args, { stdio: ["ignore", "ignore", "pipe"] });
  const exited = once(child, "exit");
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await exited;
    await rm(dir, { recursive: true, force: true });
  });
  const url = await new Promise<string>((resolve, reject) => {
    let log = "";
    child.stderr.on("data", (chunk: Buffer) => {
      log = (log + chunk.toString()).slice(-4_000);
      const [, address] = /Listening on" address=(127\.0\.0\.1:\d+)/.exec(log) ?? [];
      if (address !== undefined) resolve(`http://${address}`);
    });
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`Alertmanager ended: ${log}`)));
  });
  return {
    url,
    received: receiver.received,
    alerts: async () =>
      (await fetch(`${url}/api/v2/alerts?active=true`)).json() as Promise<AlertmanagerAlert[]>,
    notified: () =>
      receiver.received.flatMap(({ body }) =>
        (JSON.parse(body).alerts as readonly (AlertmanagerAlert & { readonly status: string })[]).map(
          ({ status, labels }) => `${status} ${labels.alertname} ${labels.queue}`,
        ),
      ),
  };
}

function configOfTests(url: string): object {
  return {
    route: {
      receiver: "test",
      group_by: ["..."],
      group_wait: "0s",
      group_interval: "1s",
      repeat_interval: "1h",
    },
    receivers: [{ name: "test", webhook_configs: [{ url, send_resolved: true }] }],
  };
}
