/**
 * One text frame of a server (RFC 6455, section 5.2): final, and not masked. It is written to the socket of many connections with the
 * same end, for less than half of what a WebSocket library takes for a message of its own.
 *
 * @param head in ASCII.
 */
export function textFrame(head: string, end: Buffer): Buffer {
  const length = head.length + end.length;
  const at = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const frame = Buffer.allocUnsafe(at + length);
  frame[0] = 0x81;
  if (at === 2) frame[1] = length;
  else if (at === 4) {
    frame[1] = 126;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = 127;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame.write(head, at, "latin1");
  frame.set(end, at + head.length);
  return frame;
}

/** A string in JSON, in ASCII. */
export function asciiJson(text: string): string {
  return JSON.stringify(text).replace(
    /[^\0-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
