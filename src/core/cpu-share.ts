/** How work of a client takes its turns with that of others, where it goes on after the request was begun. */
export interface CpuShare {
  /** Begins work at once, or, when the client has used its share of the CPU, in a later tick of the event loop. */
  begin<T>(work: () => T | Promise<T>): Promise<T>;
}

/** Begins the work once, in the share that has a turn first; at once, when no share is left to wait for. */
export function beginInFirst<T>(shares: Iterable<CpuShare>, work: () => T | Promise<T>): Promise<T> {
  return new Promise((resolve) => {
    let isBegun = false;
    let isAnyLeft = false;
    // What the work throws goes to the caller, not to the share.
    const begin = () => {
      if (!isBegun) resolve(promised(work));
      isBegun = true;
    };
    for (const share of shares) {
      isAnyLeft = true;
      void share.begin(begin);
      if (isBegun) return;
    }
    if (!isAnyLeft) begin();
  });
}

async function promised<T>(work: () => T | Promise<T>): Promise<T> {
  return work();
}
