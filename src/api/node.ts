import { maxQueueNameBytes, queueNameProblem } from "../core/queue-name.ts";
import type { QueueSnapshot, SnapshotParts } from "../core/snapshot.ts";
import { text } from "../limits/field-cost.ts";
import { builder } from "./builder.ts";
import type { Context } from "./context.ts";
import { checkQueueCount } from "./queue-arguments.ts";
import { selectedParts } from "./selected-parts.ts";

const kind = "QueueLatency:";
/** Base64 has four characters for three bytes. */
const maxIdBytes = Math.ceil((4 / 3) * (kind.length + maxQueueNameBytes));

/** Relay's Global Object Identification: client caches merge every answer about the same id, pushes among them. */
export const NodeInterface = builder.interfaceRef<QueueSnapshot>("Node").implement({
  description: "An object with an id of its own, by which client caches find it again.",
  resolveType: () => "QueueLatency",
  fields: (t) => ({
    id: t.id({
      complexity: text(maxIdBytes),
      description:
        "Stable id, unique in this API: the same queue has it in every answer and on every server. Opaque: do not build it.",
      resolve: ({ queue }) => nodeIdOf(queue),
    }),
  }),
});

function nodeIdOf(queue: string): string {
  return Buffer.from(kind + queue).toString("base64url");
}

/** The queue of an id; null when {@link nodeIdOf} makes no such id. */
function queueOfNodeId(id: string): string | null {
  const text = Buffer.from(id, "base64url").toString();
  const queue = text.slice(kind.length);
  const isOurs = text.startsWith(kind) && nodeIdOf(queue) === id;
  return isOurs && queueNameProblem(queue) === null ? queue : null;
}

/** One for each id, in the order asked. */
async function readNodes(
  ids: readonly (string | number)[],
  parts: SnapshotParts,
  tracker: Context["tracker"],
): Promise<(QueueSnapshot | null)[]> {
  const queues = ids.map((id) => queueOfNodeId(String(id)));
  const names = [...new Set(queues.filter((queue) => queue !== null))];
  const snapshots = await tracker.read(names, parts);
  const byName = new Map(snapshots.map((snapshot) => [snapshot.queue, snapshot]));
  return queues.map((queue) => (queue === null ? null : (byName.get(queue) ?? null)));
}

builder.queryField("node", (t) =>
  t.field({
    type: NodeInterface,
    nullable: true,
    args: { id: t.arg.id({ required: true, description: "The `id` of an object." }) },
    complexity: () => 1,
    description:
      "The object with this id, as it stands now. A queue that is gone is MISSING, as in `queueLatency`. Null when the id is not one of this API. Costs one point.",
    async resolve(_, { id }, { tracker }, info) {
      const [node] = await readNodes([id], selectedParts(info), tracker);
      return node ?? null;
    },
  }),
);

builder.queryField("nodes", (t) =>
  t.field({
    type: [NodeInterface],
    nullable: { list: false, items: true },
    args: { ids: t.arg.idList({ required: true, description: "Ids of objects, at most MAX_QUEUES." }) },
    complexity({ ids }, { limits }) {
      checkQueueCount(ids.length, limits);
      return { field: ids.length, multiplier: ids.length, items: ids.length };
    },
    description:
      "The objects with these ids, in the order asked, each as `node` answers it. Costs one point for each id. Errors: TOO_MANY_QUEUES.",
    resolve: (_, { ids }, { tracker }, info) => readNodes(ids, selectedParts(info), tracker),
  }),
);
