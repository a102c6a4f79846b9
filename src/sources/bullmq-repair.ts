import { randomUUID } from "node:crypto";
import type { FollowResult, RepairStep } from "../core/log-following.ts";
import type { Accuracy } from "../core/snapshot.ts";
import { jobLists, pageSize, type ReadReply, type ReadRequest } from "./bullmq-reader.ts";

/** One repair of one queue: puts the real lists in place of what was counted. Does no I/O. */
export interface Repair {
  /** For how sure the queue is until the repair has ended. */
  readonly accuracy: Accuracy;
  /** A step of it has been recorded. */
  readonly isBegun: boolean;
  /** The lists are read page by page, so jobs may move between two readings. */
  readonly isPaged: boolean;
  /** What the next reading has to include. */
  page(): ReadRequest["page"];
  /** What is recorded of a reading. */
  step(request: ReadRequest, reply: ReadReply): RepairStep;
  /** Goes on after a reading was recorded. @returns true when the repair has ended. */
  advance(request: ReadRequest, reply: ReadReply, result: FollowResult): boolean;
}

/** The lists of a small queue are read at once and repaired in a single step; others in pages, then swept. */
export function createRepair(accuracy: Accuracy): Repair {
  const token = randomUUID();
  let isBegun = false;
  let phase: "all" | "pages" | "sweep" = "all";
  let list = 0;
  let index = 0;
  let sweepFrom = "0";

  const isRead = (request: ReadRequest, reply: ReadReply) => {
    const page = request.page;
    if (page === null || reply.more) return false;
    return phase === "all" ? page.list === "all" : page.list === jobLists[list] && page.index === index;
  };
  const isAll = (request: ReadRequest, reply: ReadReply) =>
    phase === "all" && isRead(request, reply) && reply.looked >= 0;

  return {
    accuracy,
    get isBegun() {
      return isBegun;
    },
    get isPaged() {
      return phase !== "all";
    },
    page() {
      const part = phase === "all" ? "all" : jobLists[list];
      return phase === "sweep" || part === undefined ? null : { list: part, index };
    },
    step(request, reply) {
      const isSweep = isAll(request, reply) || (phase === "sweep" && !reply.more);
      return {
        token,
        begin: isBegun ? null : accuracy,
        present: isRead(request, reply) ? reply.page : [],
        sweepFrom: isSweep ? sweepFrom : null,
      };
    },
    advance(request, reply, result) {
      isBegun = true;
      if (reply.more) return false;
      if (isAll(request, reply)) phase = "sweep";
      else if (phase === "all") {
        if (isRead(request, reply)) phase = "pages";
        return false;
      } else if (phase === "pages") {
        if (!isRead(request, reply)) return false;
        index += pageSize;
        if (reply.looked < pageSize) {
          list += 1;
          index = 0;
        }
        if (list === jobLists.length) phase = "sweep";
        return false;
      }
      sweepFrom = result.sweepFrom ?? "0";
      return result.sweepFrom === null;
    },
  };
}
