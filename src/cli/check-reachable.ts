import { lookup } from "node:dns/promises";
import { once } from "node:events";
import { connect as connectTcp, createServer } from "node:net";
import { connect as connectTls } from "node:tls";
import { messageOf } from "../core/errors.ts";
import type { Finding } from "./finding.ts";

const timeoutMs = 5_000;

/** Connects to where an HTTP URL leads, with TLS where it says so, and sends nothing. The path, which may be a secret, is not named. */
export async function checkReachable(text: string): Promise<Finding> {
  const url = new URL(text);
  const isTls = url.protocol === "https:";
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const port = url.port === "" ? (isTls ? 443 : 80) : Number(url.port);
  const servername = host.includes(":") || /^[\d.]+$/.test(host) ? {} : { servername: host };
  const socket = isTls ? connectTls({ host, port, ...servername }) : connectTcp({ host, port });
  try {
    await once(socket, isTls ? "secureConnect" : "connect", { signal: AbortSignal.timeout(timeoutMs) });
    return { status: "ok", found: `${url.host} can be reached; nothing was sent` };
  } catch (error) {
    const isLate = error instanceof Error && error.name === "AbortError";
    const why = isLate ? `no connection within ${timeoutMs / 1_000} s` : messageOf(error);
    return { status: "wrong", found: `${url.host} cannot be reached: ${why}` };
  } finally {
    // What is destroyed may still report that it was.
    socket.on("error", () => {});
    socket.destroy();
  }
}

/** UDP has no connections: only the name can be looked up. */
export async function checkHostName(host: string, port: number): Promise<Finding> {
  try {
    const { address } = await lookup(host);
    return { status: "ok", found: `${address}:${port} by UDP, which no receiver acknowledges` };
  } catch (error) {
    return { status: "wrong", found: messageOf(error) };
  }
}

/** Whether this program can listen there, or a queue-latency does so already. */
export async function checkListening(host: string, port: number, basePath: string): Promise<Finding> {
  const server = createServer();
  try {
    server.listen({ host, port });
    await once(server, "listening");
    return { status: "ok", found: `${host}:${port} is free` };
  } catch (error) {
    if (await isHealthy(host, port, basePath))
      return { status: "ok", found: `a queue-latency runs at ${host}:${port}` };
    return { status: "wrong", found: `HOST and PORT: ${messageOf(error)}` };
  } finally {
    server.close();
  }
}

async function isHealthy(host: string, port: number, basePath: string): Promise<boolean> {
  const authority = host.includes(":") ? `[${host}]` : host;
  try {
    const response = await fetch(`http://${authority}:${port}${basePath}/health`, {
      signal: AbortSignal.timeout(timeoutMs),
    });
    const { status } = (await response.json()) as { readonly status?: unknown };
    return response.ok && status === "ok";
  } catch {
    return false;
  }
}
