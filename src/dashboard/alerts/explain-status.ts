import { formatCount } from "../format/count.ts";
import { formatDuration } from "../format/duration.ts";

/** What the problems of the evaluation are read from. */
export interface ExplainedStatus {
  readonly decidedAt: string | null;
  readonly ignored: number;
  readonly unreadable: number;
  readonly receivers: readonly {
    readonly receiver: string;
    readonly waiting: number;
    readonly failed: number;
    readonly dropped: number;
  }[];
}

/** The rules are evaluated every second, and another server takes over within five. */
const maxAgeSeconds = 15;

/** What is wrong with the evaluation of rules and the delivery of notifications, and what to do; empty: nothing. */
export function explainStatus(status: ExplainedStatus, nowMs: number): readonly string[] {
  const { decidedAt, ignored, unreadable, receivers } = status;
  const problems: string[] = [];
  const ageSeconds = decidedAt === null ? Number.POSITIVE_INFINITY : (nowMs - Date.parse(decidedAt)) / 1000;
  if (ageSeconds > maxAgeSeconds) {
    const ago = decidedAt === null ? "" : ` for ${formatDuration(Math.floor(ageSeconds))}`;
    problems.push(
      `No server has evaluated the rules${ago}: alerts neither fire nor end. Check that a server with ALERTS_FILE runs.`,
    );
  }
  if (ignored > 0) {
    problems.push(
      `${formatCount(ignored)} alerts were dropped: there are too many. Make the rules match fewer queues.`,
    );
  }
  if (unreadable > 0) {
    problems.push(`${formatCount(unreadable)} records in Redis are not alerts: see the server's log.`);
  }
  for (const { receiver, waiting, failed, dropped } of receivers) {
    // One that waits for its first attempt is no problem.
    if (waiting > 0 && failed > 0) {
      problems.push(
        `${receiver} has not accepted ${formatCount(waiting)} notifications yet: the server retries.`,
      );
    }
    if (dropped > 0) {
      problems.push(
        `${receiver} never accepted ${formatCount(dropped)} notifications: see \`webhook delivery failed\` in the server's log.`,
      );
    }
  }
  return problems;
}
