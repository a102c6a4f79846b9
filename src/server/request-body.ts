import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { AppError } from "../core/errors.ts";
import { type ByteBudget, createGrowingReservation } from "./byte-budget.ts";

/** A page of another origin can send none of them without a preflight request, as it can send a form. */
const mediaTypes: readonly string[] = ["application/json", "application/graphql+json"];

export interface BodyOptions {
  readonly maxBytes: number;
  readonly budget: ByteBudget;
}

export interface Body {
  readonly text: string;
  /** Its bytes count for the client until then. */
  readonly release: () => void;
}

export interface BodyReader {
  /**
   * Reads the body of a request.
   *
   * @param client who its bytes count for.
   * @returns null when the client hung up.
   * @throws AppError UNSUPPORTED_MEDIA_TYPE or BODY_TOO_LARGE, as early as possible; THROTTLED when the client has too many bytes
   *   in flight; BAD_USER_INPUT when the body is not UTF-8.
   */
  read(request: IncomingMessage, client: string): Promise<Body | null>;
}

export function createBodyReader({ maxBytes, budget }: BodyOptions): BodyReader {
  return {
    async read(request, client) {
      assertReadable(request, maxBytes);
      const reservation = createGrowingReservation(budget, client);
      try {
        if (!reservation.growTo(Number(request.headers["content-length"] ?? 0)))
          throw tooManyBytesInFlight(budget);
        const bytes = await bytesOf(request, maxBytes, (length, cost) => {
          if (length > maxBytes || cost > 2 * maxBytes) return tooLarge(maxBytes);
          return reservation.growTo(length) ? null : tooManyBytesInFlight(budget);
        });
        if (bytes === null) {
          reservation.release();
          return null;
        }
        if (!isUtf8(bytes)) throw new AppError("BAD_USER_INPUT", "the body is not UTF-8");
        return { text: bytes.toString(), release: reservation.release };
      } catch (error) {
        reservation.release();
        throw error;
      }
    },
  };
}

/** The client is over its byte budget. */
export function tooManyBytesInFlight({ max }: ByteBudget): AppError {
  return new AppError(
    "THROTTLED",
    `too many bytes in flight (limit ${max} per client); read the responses, retry after 1 s`,
    { retryAfterSeconds: 1 },
  );
}

function assertReadable({ headers }: IncomingMessage, maxBytes: number): void {
  if (Number(headers["content-length"] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  if ((headers["content-encoding"] ?? "identity") !== "identity") {
    throw new AppError("UNSUPPORTED_MEDIA_TYPE", "a compressed body; send it without Content-Encoding");
  }
  // Some clients send several, of which the first counts.
  const [mediaType = ""] = (headers["content-type"] ?? "").split(/[;,]/, 1);
  if (!mediaTypes.includes(mediaType.trim().toLowerCase())) {
    throw new AppError("UNSUPPORTED_MEDIA_TYPE", `expected a body of one of ${mediaTypes.join(", ")}`);
  }
}

/** What a chunk costs beside its bytes: a chunk of one byte takes as much time as one of a hundred. */
const chunkOverheadBytes = 256;

/**
 * Copies the chunks into one buffer, so that a body in small ones takes no more memory than another one. Node checks that the body
 * is as long as announced. Leaves no listener on the request, which lives as long as a stream.
 *
 * @param errorOf why a body of this length is refused, whose chunks have cost so much.
 */
function bytesOf(
  request: IncomingMessage,
  maxBytes: number,
  errorOf: (length: number, cost: number) => AppError | null,
): Promise<Buffer | null> {
  return new Promise((resolve, reject) => {
    let buffer: Buffer = nothing;
    let length = 0;
    let cost = 0;
    function read(chunk: Buffer): void {
      cost += chunk.length + chunkOverheadBytes;
      const error = errorOf(length + chunk.length, cost);
      if (error !== null) {
        request.off("data", read);
        // The connection is closed after the response: what still comes is not even parsed.
        request.pause();
        reject(error);
        return;
      }
      buffer = length === 0 ? chunk : appended(buffer, length, chunk, maxBytes);
      length += chunk.length;
    }
    const finish = (bytes: Buffer | null) => {
      // A stream of events keeps its request, which keeps the listeners.
      buffer = nothing;
      resolve(bytes);
    };
    request.on("data", read);
    request.on("end", () => finish(buffer.subarray(0, length)));
    request.on("close", () => finish(null));
    request.on("error", () => finish(null));
  });
}

const nothing = Buffer.alloc(0);

/** The buffer with the chunk behind its first bytes; another, larger one when it is full. */
function appended(buffer: Buffer, length: number, chunk: Buffer, maxBytes: number): Buffer {
  let target = buffer;
  if (length + chunk.length > buffer.length) {
    target = Buffer.allocUnsafeSlow(Math.min(maxBytes, Math.max(2 * buffer.length, length + chunk.length)));
    buffer.copy(target, 0, 0, length);
  }
  chunk.copy(target, length);
  return target;
}

function tooLarge(maxBytes: number): AppError {
  return new AppError(
    "BODY_TOO_LARGE",
    `the body is too large, or its chunks are too small (limit ${maxBytes} bytes, which MAX_EVENTS and MAX_QUEUES raise)`,
  );
}
