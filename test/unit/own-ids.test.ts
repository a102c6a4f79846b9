import { expect, test } from "vitest";
import { createOwnIds } from "../../src/sources/own-ids.ts";

const minuteMs = 60_000;
const nowMs = 1_800_000_000_000;

/** Looks at a stream: the id that was given last then, the head, and the time by its Redis, both in ms after `nowMs`. */
interface Look {
  readonly last: string;
  readonly head?: string;
  readonly atMs: number;
}

interface Case {
  readonly why: string;
  readonly looks: readonly Look[];
  /** Of the head at the last look. */
  readonly accuracy: "EXACT" | "ESTIMATED";
}

const at = (ms: number, sequence = 0) => `${nowMs + ms}-${sequence}`;
const setBack: readonly Look[] = [
  { last: at(-10), atMs: 0 },
  { last: at(-10), atMs: 1 - minuteMs },
];

const cases: readonly Case[] = [
  { why: "each new id is later than the look before", accuracy: "EXACT", looks: [{ last: at(-5), atMs: 0 }] },
  {
    why: "a new id is of before the last look",
    accuracy: "ESTIMATED",
    looks: [
      { last: at(-10), atMs: 0 },
      { last: at(-5), atMs: 1_000 },
    ],
  },
  { why: "an id is from the future", accuracy: "ESTIMATED", looks: [{ last: at(5), atMs: 0 }] },
  {
    why: "the clock was set back after the entry came: it is older than its id says",
    accuracy: "ESTIMATED",
    looks: setBack,
  },
  {
    why: "while the clock is behind, Redis repeats the time of the last id",
    accuracy: "ESTIMATED",
    looks: [...setBack, { last: at(-10, 1), atMs: 1_000 - minuteMs }],
  },
  {
    why: "ids of after the clock was set back are its times again",
    accuracy: "EXACT",
    looks: [...setBack, { last: at(-10, 1), atMs: 1_000 - minuteMs }, { last: at(500), atMs: 1_000 }],
  },
  {
    why: "the entry came between the last look and the step of the clock",
    accuracy: "ESTIMATED",
    looks: [
      { last: at(-10), atMs: 0 },
      { last: at(20), atMs: 50 - minuteMs },
      { last: at(20), atMs: 1_050 - minuteMs },
    ],
  },
  {
    why: "such an entry has gone, and the next one came later",
    accuracy: "EXACT",
    looks: [
      { last: at(-10), atMs: 0 },
      { last: at(20), atMs: 50 - minuteMs },
      { last: at(500), atMs: 1_000 },
    ],
  },
  {
    why: "the head is still one of before the step, though later ids are right",
    accuracy: "ESTIMATED",
    looks: [...setBack, { last: at(500), head: at(-10), atMs: 1_000 }],
  },
  {
    why: "the producer's own ids go on after the step",
    accuracy: "ESTIMATED",
    looks: [...setBack, { last: at(20_000), atMs: 2 - minuteMs }, { last: at(90_000), atMs: 90_001 }],
  },
];

test.each(cases)("the age of a head is $accuracy where $why", ({ looks, accuracy }) => {
  const ids = createOwnIds();
  for (const { last, atMs } of looks) ids.seen(last, nowMs + atMs);
  const { last = "", head = last, atMs = Number.NaN } = looks.at(-1) ?? {};
  expect(ids.ageOf(head, nowMs + atMs)).toMatchObject({ accuracy });
});
