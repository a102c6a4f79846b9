import { AppError } from "../core/errors.ts";

/**
 * What a Redis that is there, but cannot serve now, answers. NOSCRIPT: the script was forgotten again while it was sent again.
 * "The user …": what a script may not do has no code of its own in Redis 7.0.
 */
const cannotServe =
  /^(?:(LOADING|BUSY|OOM|READONLY|MISCONF|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|NOAUTH|WRONGPASS|NOPERM|NOSCRIPT)\b|ERR The user executing the script can't )/;

/** In whose words a Redis that answered refused to serve; null: it did not, or it was no Redis that answered. */
export function refusalOf(error: Error | null): string | null {
  return error?.name === "ReplyError" && cannotServe.test(error.message) ? error.message : null;
}

/**
 * SERVICE_UNAVAILABLE when Redis could not be reached or cannot serve; the error itself when it is an answer to what we
 * asked (a script's own refusal, or a mistake of ours).
 */
export function unavailableOr(error: unknown): Error {
  if (error instanceof AppError) return error;
  if (error instanceof Error && error.name === "ReplyError" && refusalOf(error) === null) {
    // ioredis attaches the whole command to the error: logging the error would log a thousand job ids.
    Reflect.deleteProperty(error, "command");
    return error;
  }
  const [message, retryAfterSeconds] = explanationOf(error);
  return new AppError("SERVICE_UNAVAILABLE", message, { cause: error, retryAfterSeconds });
}

/** The reply to a command. @throws as {@link unavailableOr} says. */
export async function answered<T>(reply: Promise<T>): Promise<T> {
  try {
    return await reply;
  } catch (error) {
    throw unavailableOr(error);
  }
}

/** Whether Redis refused to write since it has reached its `maxmemory`. */
export function isOutOfMemory(error: unknown): error is AppError {
  return error instanceof AppError && codeOf(error.cause) === "OOM";
}

function explanationOf(error: unknown): readonly [message: string, retryAfterSeconds: number] {
  switch (codeOf(error)) {
    case "OOM":
      return [
        "Redis is full (maxmemory): until it has room, only events that take a waiting job out, removeWaitingJobs and forgetQueue are accepted; retry after 10 s",
        10,
      ];
    case "MISCONF":
      return [
        "Redis cannot save to its disk and accepts no writes (MISCONF): check its disk; retry after 10 s",
        10,
      ];
    default:
      return ["Redis does not answer; try again soon", 1];
  }
}

/** What Redis calls an error, such as OOM; null when Redis did not answer. */
function codeOf(error: unknown): string | null {
  return error instanceof Error && error.name === "ReplyError"
    ? (/^[A-Z]+/.exec(error.message)?.[0] ?? null)
    : null;
}
