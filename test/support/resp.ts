/** A whole value of the Redis protocol, with the bytes that it came in; pushes are those that answer no command. */
export type ReceiveValue = (value: unknown, bytes: Buffer, isPush: boolean) => void;

/** Reads RESP 2 and 3: feed it with what comes, and it calls back for each value that is whole. */
export function createRespReader(receive: ReceiveValue): (chunk: Buffer) => void {
  let buffer: Buffer = Buffer.alloc(0);
  return (chunk) => {
    buffer = Buffer.concat([buffer, chunk]);
    for (;;) {
      const parsed = parse(buffer, 0);
      if (parsed === null) return;
      const bytes = buffer.subarray(0, parsed.end);
      const isPush = bytes[0] === ">".charCodeAt(0);
      buffer = buffer.subarray(parsed.end);
      receive(parsed.value, bytes, isPush);
    }
  };
}

interface Parsed {
  readonly value: unknown;
  readonly end: number;
}

/** How many values follow for each that an aggregate counts. */
const perCounted: Readonly<Record<string, number>> = { "*": 1, "~": 1, ">": 1, "%": 2 };

/** @returns null while the value is not whole. */
function parse(buffer: Buffer, from: number): Parsed | null {
  const lineEnd = buffer.indexOf("\r\n", from);
  if (lineEnd === -1) return null;
  const type = String.fromCharCode(buffer[from] ?? 0);
  const head = buffer.toString("utf8", from + 1, lineEnd);
  let end = lineEnd + 2;
  if (type === "$" || type === "=" || type === "!") {
    const length = Number(head);
    if (length === -1) return { value: null, end };
    if (buffer.length < end + length + 2) return null;
    return { value: buffer.toString("utf8", end, end + length), end: end + length + 2 };
  }
  const times = perCounted[type];
  if (times === undefined) {
    if (!"+-:_#,(".includes(type))
      throw new Error(`expected a value of the Redis protocol, got ${type}${head}`);
    return { value: head, end };
  }
  const values: unknown[] = [];
  for (let left = Math.max(0, Number(head)) * times; left > 0; left--) {
    const item = parse(buffer, end);
    if (item === null) return null;
    values.push(item.value);
    end = item.end;
  }
  return { value: values, end };
}
