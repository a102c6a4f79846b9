/** What is to be sent before the process ends. */
export interface Closable {
  flush(): Promise<unknown>;
  close(): Promise<unknown>;
}

const signals = ["SIGTERM", "SIGINT"] as const;

/**
 * Closes it when the process has nothing else to do, and at SIGTERM and SIGINT, which end the process then. A program that handles the
 * signal itself goes on, may record more, and decides when it ends: what there is by then is only sent.
 *
 * @returns removes it.
 */
type CloseAtExit = (closable: Closable) => () => void;

/**
 * One for all copies of this package in the process, such as those of two libraries: else each copy would take the listeners of the others
 * for the program's, or end the process before they have sent everything.
 */
const ofProcess: { [key: symbol]: CloseAtExit | undefined } = globalThis;
const key = Symbol.for("queue-latency/recorder: close at exit, 1");

ofProcess[key] ??= createCloseAtExit();
export const closeAtExit: CloseAtExit = ofProcess[key];

function createCloseAtExit(): CloseAtExit {
  const open = new Set<Closable>();

  function addHooks(): void {
    process.on("beforeExit", onIdle);
    // First, to see also the listeners that remove themselves.
    for (const signal of signals) process.prependListener(signal, onSignal);
  }

  function removeHooks(): void {
    process.off("beforeExit", onIdle);
    for (const signal of signals) process.off(signal, onSignal);
  }

  function onIdle(): void {
    for (const closable of open) void closable.close();
  }

  function onSignal(signal: NodeJS.Signals): void {
    if (process.listeners(signal).some((listener) => listener !== onSignal)) {
      for (const closable of open) void closable.flush();
      return;
    }
    const all = [...open];
    // A second signal ends the process at once.
    removeHooks();
    open.clear();
    void Promise.all(all.map((closable) => closable.close())).then(() => process.kill(process.pid, signal));
  }

  return (closable) => {
    if (open.size === 0) addHooks();
    open.add(closable);
    return () => {
      if (open.delete(closable) && open.size === 0) removeHooks();
    };
  };
}
