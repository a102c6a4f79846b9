import { once } from "node:events";
import type { Writable } from "node:stream";
import { expect, it } from "vitest";
import * as ws from "ws";
import { asciiJson, bytesOf, textFrame } from "../../src/server/text-frame.ts";

const texts: readonly (readonly [why: string, text: string])[] = [
  ["of nothing", ""],
  ["of the longest short length", "x".repeat(125)],
  ["with a length of two bytes", "x".repeat(126)],
  ["of the longest length of two bytes", "x".repeat(65_535)],
  ["with a length of eight bytes", "x".repeat(65_536)],
  ["of more than ASCII", "größer als 🦊 \u0000\u2028".repeat(20)],
];

it.each(texts)("frames a text %s so that `ws` reads it", async (_why, text) => {
  const head = `{"id":${asciiJson("ä🦊\ud800")},`;
  // Its types do not know it.
  const { Receiver } = ws as unknown as { readonly Receiver: new () => Writable };
  const receiver = new Receiver();
  const message = once(receiver, "message");
  receiver.write(Buffer.from(textFrame(head, bytesOf(text)), "latin1"));
  const [data, isBinary] = (await message) as [Buffer, boolean];
  expect([data.toString(), isBinary]).toEqual([head + text, false]);
  expect(JSON.parse(`${head}"a":1}`).id).toBe("ä🦊\ud800");
});
