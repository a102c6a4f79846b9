import { createHash } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { allowOutOfMemory, loadScript } from "../../src/redis/scripts.ts";
import { createRespReader } from "./resp.ts";

/** A command as it was sent: its name in capitals, then its arguments. */
export type SentCommand = readonly string[];

/**
 * Where the connection breaks: before Redis has received the command; when it has run it and none, or half, of the reply has
 * been passed on. Whatever was sent behind the command is not passed on, what Redis answered to those before it is.
 */
export type CutPoint = "before it ran" | "after it ran" | "in its reply";

/** A relay to Redis that reads what passes, and breaks the connection at one command, on purpose. */
export interface CuttingProxy extends AsyncDisposable {
  readonly url: string;
  /** How often commands like this have come from our side, whether they were passed on or not. */
  sent(isIt: (command: SentCommand) => boolean): number;
  /**
   * Cuts the connection at each of the next commands that are like this, as often as it is said.
   *
   * @returns resolves when it has been done so often.
   */
  cut(isIt: (command: SentCommand) => boolean, point: CutPoint, times?: number): Promise<void>;
}

/** Calls of a script of ours, by its file, whether it is sent whole or by its hash, and run at maxmemory or not. */
export function callsOf(file: string): (command: SentCommand) => boolean {
  const script = loadScript("", new URL(`../../src/${file}`, import.meta.url));
  const scripts = [script.lua, allowOutOfMemory(script).lua];
  const hashes = scripts.map((script) => createHash("sha1").update(script).digest("hex"));
  return ([name, script = ""]) =>
    (name === "EVAL" && scripts.includes(script)) || (name === "EVALSHA" && hashes.includes(script));
}

interface Cut {
  readonly isIt: (command: SentCommand) => boolean;
  readonly point: CutPoint;
  left: number;
  readonly done: PromiseWithResolvers<void>;
}

export async function startCuttingProxy(target: string): Promise<CuttingProxy> {
  const { hostname, port } = new URL(target);
  const sockets = new Set<Socket>();
  const commands: SentCommand[] = [];
  const cuts = new Set<Cut>();

  function serve(near: Socket): void {
    const far = connect(Number(port), hostname);
    const end = () => {
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", end);
      socket.once("close", () => {
        sockets.delete(socket);
        end();
      });
    }
    let unanswered = 0;
    /** Here, when this number of replies more has come. */
    let breaking: { readonly cut: Cut; repliesLeft: number } | undefined;

    function finish(cut: Cut): void {
      end();
      cut.left -= 1;
      if (cut.left > 0) return;
      cuts.delete(cut);
      cut.done.resolve();
    }

    const requests = createRespReader((command, bytes) => {
      const [name = "", ...args] = command as string[];
      const sent = [name.toUpperCase(), ...args];
      commands.push(sent);
      if (breaking !== undefined) return;
      const cut = [...cuts].find(({ isIt }) => isIt(sent));
      if (cut?.point === "before it ran") {
        // What was sent before it runs, and is answered, before the connection breaks.
        breaking = { cut, repliesLeft: unanswered };
        if (unanswered === 0) finish(cut);
        return;
      }
      // A subscription is answered by a push.
      if (sent[0] !== "SUBSCRIBE") unanswered += 1;
      if (cut !== undefined) breaking = { cut, repliesLeft: unanswered };
      far.write(bytes);
    });
    const replies = createRespReader((_, bytes, isPush) => {
      if (!isPush) unanswered -= 1;
      if (isPush || breaking === undefined) {
        near.write(bytes);
        return;
      }
      breaking.repliesLeft -= 1;
      const { cut, repliesLeft } = breaking;
      const isIts = repliesLeft === 0 && cut.point !== "before it ran";
      const passedOn = isIts ? bytes.subarray(0, cut.point === "in its reply" ? bytes.length / 2 : 0) : bytes;
      near.write(passedOn, () => repliesLeft === 0 && finish(cut));
    });
    near.on("data", requests);
    far.on("data", replies);
  }

  const server = createServer(serve).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = new URL(target);
  url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: url.href,
    sent: (isIt) => commands.filter(isIt).length,
    cut(isIt, point, times = 1) {
      const cut: Cut = { isIt, point, left: times, done: Promise.withResolvers() };
      cuts.add(cut);
      return cut.done.promise;
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, "close");
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
