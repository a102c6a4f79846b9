import { describe, expect, it } from "vitest";
import { AppError } from "../../src/core/errors.ts";
import type { QueueSnapshot } from "../../src/core/snapshot.ts";
import { type AllQueuesOptions, queuesPerPage, readAllQueues } from "../../src/exporters/all-queues.ts";
import { seriesParts } from "../../src/exporters/queue-series.ts";
import { fakeReader } from "../support/queue-reader.ts";

async function readAll(options: Partial<AllQueuesOptions> & Pick<AllQueuesOptions, "reader">) {
  const pages: string[][] = [];
  const found = await readAllQueues({
    parts: seriesParts,
    maxQueues: 10_000,
    onPage: (snapshots) => void pages.push(snapshots.map(({ queue }) => queue)),
    ...options,
  });
  return { ...found, pages, names: pages.flat() };
}
const numbered = (count: number) => Array.from({ length: count }, (_, i) => `q${String(i).padStart(5, "0")}`);

describe("reading all queues", () => {
  it("reads each once, a page at a time", async () => {
    const names = numbered(2 * queuesPerPage + 1);
    const read = await readAll({ reader: fakeReader(names) });
    expect(read).toMatchObject({ names, known: names.length, omitted: 0, unreadable: 0 });
    expect(read.pages.map((page) => page.length)).toEqual([queuesPerPage, queuesPerPage, 1]);
  });

  it.each([0, 1, queuesPerPage - 1, queuesPerPage])("finds all of %d", async (count) => {
    const names = numbered(count);
    expect(await readAll({ reader: fakeReader(names) })).toMatchObject({ names, known: count, omitted: 0 });
  });

  it("stops at the bound, and says how many there are beyond it", async () => {
    const names = numbered(queuesPerPage + 20);
    const read = await readAll({ reader: fakeReader(names), maxQueues: queuesPerPage + 3 });
    expect(read).toMatchObject({
      names: names.slice(0, queuesPerPage + 3),
      known: names.length,
      omitted: 17,
    });
  });

  it("leaves out a queue that is gone already", async () => {
    const reader = fakeReader(["a", "b", "c"], (queue): Partial<QueueSnapshot> => {
      return queue === "b" ? { state: "MISSING", source: null } : {};
    });
    expect(await readAll({ reader })).toMatchObject({ names: ["a", "c"], unreadable: 0 });
  });

  it("counts a queue that cannot be read, which costs the others nothing", async () => {
    const reader = fakeReader(["a", "b", "c"], (queue) => {
      if (queue === "b") throw new AppError("SERVICE_UNAVAILABLE", "its node is away");
      return {};
    });
    expect(await readAll({ reader })).toMatchObject({ names: ["a", "c"], known: 3, unreadable: 1 });
  });

  it("counts those that are not as they should be, also when no other is there", async () => {
    const reader = fakeReader(["a"], () => {
      throw new Error("WRONGTYPE");
    });
    expect(await readAll({ reader })).toMatchObject({ names: [], known: 1, unreadable: 1 });
  });

  it("fails when nothing can be read", async () => {
    const reader = fakeReader(["a", "b"], () => {
      throw new AppError("SERVICE_UNAVAILABLE", "Redis is away");
    });
    await expect(readAll({ reader })).rejects.toMatchObject({ code: "SERVICE_UNAVAILABLE" });
  });

  it("waits for no other page when its time is up, and counts what it did not read", async () => {
    let now = 0;
    const clock = { now: () => now };
    const names = numbered(3 * queuesPerPage);
    const reader = fakeReader(names, () => {
      now += 10;
      return {};
    });
    const read = await readAll({ reader, clock, timeoutMs: 20 * queuesPerPage });
    expect(read).toMatchObject({ names: names.slice(0, 2 * queuesPerPage), unreadable: queuesPerPage });
  });
});
