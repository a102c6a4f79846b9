import { batchIdOf, batchSize, prefixOf, suffixes } from "./batches.ts";
import { type Written, writeInTurn } from "./fold.ts";
import { openConnection, postOf } from "./http-connection.ts";

export interface Recording {
  readonly url: string;
  readonly token: string;
  /** Each has a connection of its own, with one batch under way at any time. */
  readonly queues: readonly string[];
  readonly forMs: number;
}

const query = `mutation ($events: [QueueEventInput!]!, $batchId: ID) {
  recordEvents(events: $events, batchId: $batchId) { accepted duplicates early }
}`;
/** The text in the template for the ids of a batch, and of the one before. */
const newPrefix = "<new-prefix>";
const oldPrefix = "<old-prefix>";

/** The events that `foldEvents` folds, sent to `recordEvents`. */
export async function recordEvents({ url, token, queues, forMs }: Recording): Promise<Written> {
  const recorders = new Map<string, (batch: number) => Promise<void>>();
  await using connections = new AsyncDisposableStack();
  for (const queue of queues) {
    const connection = await openConnection(url);
    connections.defer(() => connection.close());
    const template = templateOf(queue);
    recorders.set(queue, async (batch) => {
      const body = template
        .replaceAll(newPrefix, prefixOf(batch))
        .replaceAll(oldPrefix, prefixOf(batch - 1))
        .replace("<batch-id>", batchIdOf(queue, batch));
      const answer = await connection.ask(postOf(body, token));
      if (!answer.body.includes(`"accepted":${batchSize}`)) {
        throw new Error(`expected ${batchSize} accepted events, got ${answer.body.toString().slice(0, 500)}`);
      }
    });
  }
  return await writeInTurn(queues, forMs, async (queue, batch) => await recorders.get(queue)?.(batch));
}

/** A batch as JSON in which only the ids are missing: making it anew each time would be more work than sending it. */
function templateOf(queue: string): string {
  const events = [
    ...suffixes.map((suffix) => ({ type: "ENQUEUED", queue, jobId: newPrefix + suffix })),
    ...suffixes.map((suffix) => ({ type: "DEQUEUED", queue, jobId: oldPrefix + suffix })),
  ];
  return JSON.stringify({ query, variables: { events, batchId: "<batch-id>" } });
}
