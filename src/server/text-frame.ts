/**
 * One text frame of a server (RFC 6455, section 5.2): final, and not masked. Many sockets get frames with the same end, and a string takes
 * less time to join and to write than a buffer.
 *
 * @param head in ASCII.
 * @param end its bytes, a character each.
 * @returns the bytes of the frame, a character each: to be written as latin1.
 */
export function textFrame(head: string, end: string): string {
  return lengthOf(head.length + end.length) + head + end;
}

function lengthOf(bytes: number): string {
  if (bytes < 126) return String.fromCharCode(0x81, bytes);
  if (bytes < 65_536) return String.fromCharCode(0x81, 126, bytes >> 8, bytes & 0xff);
  const long = Buffer.from([0x81, 127, 0, 0, 0, 0, 0, 0, 0, 0]);
  long.writeBigUInt64BE(BigInt(bytes), 2);
  return long.toString("latin1");
}

/** The bytes of a text in UTF-8, a character each. */
export function bytesOf(text: string): string {
  return Buffer.from(text).toString("latin1");
}

/** A string in JSON, in ASCII. */
export function asciiJson(text: string): string {
  return JSON.stringify(text).replace(
    /[^\0-\x7f]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
