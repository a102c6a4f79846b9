export interface ResponseParser {
  /** Takes the next bytes of the connection. @throws Error when they are no HTTP response. */
  feed(bytes: Buffer): void;
}

export interface ResponseListener {
  /** Some of a body, as it came; how it was cut into pieces means nothing. */
  onBody(bytes: Buffer): void;
  onEnd(status: number): void;
}

const headEnd = Buffer.from("\r\n\r\n");

/** Cuts what comes over a connection that is kept alive into responses: those with a length, and those in chunks. */
export function createResponseParser({ onBody, onEnd }: ResponseListener): ResponseParser {
  let pending: Buffer = Buffer.alloc(0);
  let expects: "head" | "body" | "chunk size" | "chunk" | "chunk end" | "trailer" = "head";
  let status = 0;
  /** Bytes that are still to come of a body or chunk. */
  let missing = 0;

  /** Takes as much as there is, at most what is missing. @returns whether it is all there. */
  function takeBody(): boolean {
    const taken = pending.subarray(0, missing);
    pending = pending.subarray(taken.length);
    missing -= taken.length;
    if (taken.length > 0) onBody(taken);
    return missing === 0;
  }

  /** Takes what stands before `end`, and `end` itself; null when it is not there yet. */
  function takeUntil(end: Buffer | string): string | null {
    const at = pending.indexOf(end);
    if (at < 0) return null;
    const text = pending.toString("latin1", 0, at);
    pending = pending.subarray(at + end.length);
    return text;
  }

  function takeHead(): boolean {
    const head = takeUntil(headEnd);
    if (head === null) return false;
    if (!head.startsWith("HTTP/1.1 ")) throw new Error(`expected an HTTP response, got ${head.slice(0, 40)}`);
    status = Number(head.slice(9, 12));
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    missing = Number(length ?? 0);
    expects = length === undefined && /\r\ntransfer-encoding: *chunked/i.test(head) ? "chunk size" : "body";
    return true;
  }

  function takeChunkSize(): boolean {
    const size = takeUntil("\r\n");
    if (size === null) return false;
    missing = Number.parseInt(size, 16);
    expects = missing === 0 ? "trailer" : "chunk";
    return true;
  }

  function end(): true {
    expects = "head";
    onEnd(status);
    return true;
  }

  /** @returns whether it got any further. */
  function step(): boolean {
    switch (expects) {
      case "head":
        return takeHead();
      case "body":
        return takeBody() && end();
      case "chunk size":
        return takeChunkSize();
      case "chunk":
        if (!takeBody()) return false;
        expects = "chunk end";
        return true;
      case "chunk end":
        if (takeUntil("\r\n") === null) return false;
        expects = "chunk size";
        return true;
      case "trailer":
        return takeUntil("\r\n") !== null && end();
    }
  }

  return {
    feed(bytes) {
      pending = pending.length === 0 ? bytes : Buffer.concat([pending, bytes]);
      // What is expected after a body of no bytes is known without another byte.
      while ((pending.length > 0 || (expects === "body" && missing === 0)) && step());
    },
  };
}
