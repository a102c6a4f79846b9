import { spawn } from "node:child_process";
import { once } from "node:events";

/** What is measured beside us, in a process of its own. */
export interface Peer extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
}

/** Runs a file of `bench/peers`; resolves when it has printed its URL. */
export async function startPeer(
  name: "mercurius" | "plain-http" | "shared-string",
  env: Readonly<Record<string, string>> = {},
): Promise<Peer> {
  const file = new URL(`../peers/${name}.ts`, import.meta.url).pathname;
  const child = spawn(process.execPath, [file], {
    env: { PATH: process.env.PATH, NODE_ENV: "production", ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const closed = once(child, "close");
  const killAtExit = () => child.kill("SIGKILL");
  process.on("exit", killAtExit);
  child.once("exit", () => process.off("exit", killAtExit));
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  child.stdout.once("data", (chunk: Buffer) => resolve(chunk.toString().trim()));
  child.once("close", (code) => reject(new Error(`the peer ${name} ended with ${code}`)));
  return {
    url: await promise,
    pid: child.pid ?? -1,
    async [Symbol.asyncDispose]() {
      child.kill("SIGTERM");
      await closed;
    },
  };
}
