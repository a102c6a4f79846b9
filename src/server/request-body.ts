import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import { AppError } from "../core/errors.ts";

/** None of them can a page of another origin send without a preflight request, as it can send a form. */
const mediaTypes: readonly string[] = ["application/json", "application/graphql+json"];

/**
 * Reads the body of a request.
 *
 * @returns null when the client hung up.
 * @throws AppError UNSUPPORTED_MEDIA_TYPE or BODY_TOO_LARGE, as early as possible; BAD_USER_INPUT when it is not UTF-8.
 */
export async function readBody(request: IncomingMessage, maxBytes: number): Promise<string | null> {
  assertReadable(request, maxBytes);
  const body = await bytesOf(request, maxBytes);
  if (body === null) return null;
  if (!isUtf8(body)) throw new AppError("BAD_USER_INPUT", "the body is not UTF-8");
  return body.toString();
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

/** Node checks that the body is as long as announced. Leaves no listener on the request, which lives as long as a stream. */
function bytesOf(request: IncomingMessage, maxBytes: number): Promise<Buffer | null> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const detach = () => {
      for (const [event, listener] of Object.entries(listeners)) request.off(event, listener);
    };
    const finish = (body: Buffer | null) => {
      detach();
      resolve(body);
    };
    const listeners = {
      data(chunk: Buffer) {
        bytes += chunk.length;
        chunks.push(chunk);
        if (bytes <= maxBytes) return;
        detach();
        reject(tooLarge(maxBytes));
      },
      end: () => finish(chunks.length === 1 ? (chunks[0] ?? null) : Buffer.concat(chunks)),
      close: () => finish(null),
      error: () => finish(null),
    };
    for (const [event, listener] of Object.entries(listeners)) request.on(event, listener);
  });
}

function tooLarge(maxBytes: number): AppError {
  return new AppError(
    "BODY_TOO_LARGE",
    `the body is too large (limit ${maxBytes} bytes, by MAX_QUEUES and MAX_EVENTS)`,
  );
}
