import type { RecentStep } from "../core/history.ts";

// Of MessagePack: what begins a list, and a number.

/** A list of a list and one or two numbers. The flat one has eight elements at least. */
const nestedLists: readonly (number | undefined)[] = [0x92, 0x93];
const shortList = 0x90;
const list16 = 0xdc;
const maxSmallNumber = 0x7f;
const float64 = 0xcb;
const bytesOf: Readonly<Record<number, number>> = { 204: 1, 205: 2, 206: 4, 207: 8, [float64]: 8 };

/**
 * Reads only what it needs of what `encodeRecord` made, without the wait times, which are most of it: they may be cut off, as
 * lua/recent-steps.lua does. Thousands of queues have thirty steps each, which a reader of any MessagePack takes ten times as long
 * for.
 *
 * @throws Error when it is something else.
 */
export function decodeRecentStep(atMs: number, bytes: Uint8Array): RecentStep {
  const isNested = nestedLists.includes(bytes[0]);
  const [length, start] = listAt(bytes, isNested ? 1 : 0);
  if (length < 8) throw notAStep();
  const hasCounts = length > 8;
  // The number behind the list is behind its last one.
  const numbers = numbersAt(bytes, start, isNested ? length + 1 : hasCounts ? 10 : 8);
  const at = (index: number): number => numbers[index] as number;
  return {
    atMs,
    samples: at(0),
    waitingSamples: at(1),
    pausedSamples: at(2),
    incompleteSamples: isNested ? at(length) : 0,
    lastLatencyMs: at(5),
    maxDepth: at(6),
    lastDepth: at(7),
    counts: hasCounts ? { enqueued: at(8), dequeued: at(9) } : null,
  };
}

/** @returns how many elements it has, and where the first one is. */
function listAt(bytes: Uint8Array, at: number): readonly [length: number, start: number] {
  const head = bytes[at] ?? 0;
  if (head === list16) return [uintAt(bytes, at + 1, 2), at + 3];
  if (head < shortList || head > shortList + 15) throw notAStep();
  return [head - shortList, at + 1];
}

function numbersAt(bytes: Uint8Array, start: number, count: number): readonly number[] {
  const numbers: number[] = [];
  let at = start;
  for (let i = 0; i < count; i++) {
    const head = bytes[at++] ?? float64;
    if (head <= maxSmallNumber) {
      numbers.push(head);
      continue;
    }
    const length = bytesOf[head];
    if (length === undefined || at + length > bytes.length) throw notAStep();
    numbers.push(head === float64 ? doubleAt(bytes, at) : uintAt(bytes, at, length));
    at += length;
  }
  return numbers;
}

function uintAt(bytes: Uint8Array, at: number, length: number): number {
  let value = 0;
  for (let i = at; i < at + length; i++) value = 256 * value + (bytes[i] ?? 0);
  return value;
}

function doubleAt(bytes: Uint8Array, at: number): number {
  const value = new DataView(bytes.buffer, bytes.byteOffset + at, 8).getFloat64(0);
  if (!Number.isFinite(value)) throw notAStep();
  return value;
}

function notAStep(): Error {
  return new Error("expected the numbers of a step");
}
