// A part of GraphiQL's page. GraphiQL takes the end of a stream for the end of the subscription, and then shows the last number
// for ever. This reads on: when a stream ends without a `complete` event, the same request is sent again until it is answered, and
// meanwhile the page shows an error instead of the last number.
{
  const fetchOnce = window.fetch.bind(window);
  const minWaitMs = 500;
  const maxWaitMs = 10_000;
  const lost = JSON.stringify({ errors: [{ message: "connection lost; trying again" }] });
  const eventOf = (json) => new TextEncoder().encode(`event: next\ndata: ${json}\n\n`);
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const isStream = (response) =>
    response.headers.get("content-type")?.startsWith("text/event-stream") === true;

  window.fetch = async (input, init) => {
    const first = await fetchOnce(input, init);
    if (!isStream(first) || first.body === null) return first;
    const signal = init?.signal;
    let reader = first.body.getReader();
    let tail = "";
    let waitMs = minWaitMs;

    /** The next piece; null when the stream is over. A stream that breaks has ended, too. */
    async function readPiece() {
      const decoder = new TextDecoder();
      const { done, value } = await reader.read().catch(() => ({ done: true }));
      if (done) return null;
      tail = (tail + decoder.decode(value)).slice(-200);
      waitMs = minWaitMs;
      return value;
    }

    /** @returns null when pushes go on; else the answer that came in their place, such as one that refuses the token. */
    async function reconnect() {
      tail = "";
      while (signal?.aborted !== true) {
        await pause(waitMs);
        waitMs = Math.min(2 * waitMs, maxWaitMs);
        const response = await fetchOnce(input, init).catch(() => null);
        if (response === null || response.status === 429 || response.status >= 500) continue;
        if (!isStream(response) || response.body === null) return await response.text();
        reader = response.body.getReader();
        return null;
      }
      return null;
    }

    const body = new ReadableStream({
      async pull(controller) {
        const piece = await readPiece();
        if (piece !== null) {
          controller.enqueue(piece);
        } else if (signal?.aborted === true || tail.includes("event: complete")) {
          controller.close();
        } else {
          controller.enqueue(eventOf(lost));
          const refusal = await reconnect();
          if (refusal === null) return;
          controller.enqueue(eventOf(refusal));
          controller.close();
        }
      },
      cancel: (reason) => reader.cancel(reason),
    });
    return new Response(body, { status: first.status, headers: first.headers });
  };
}
