import { formatCount } from "../format/count.ts";
import { graphqlPath, setParams } from "../route.ts";

/** A server that knows no queue yet: how to record the first event. */
export function NoQueuesYet() {
  const url = new URL(graphqlPath, location.href).href;
  const mutation =
    'mutation { recordEvents(events: [{ type: ENQUEUED, queue: \\"mail\\", jobId: \\"1\\" }]) { accepted } }';
  return (
    <section class="empty">
      <h2>No queues yet</h2>
      <p>
        A queue appears with its first event, or when the server reads a job system, which a setting such as
        SIDEKIQ_URL or POSTGRES_URL names. Record one:
      </p>
      <pre>
        <code>{`curl ${url} -H 'content-type: application/json' \\\n  -d '{"query": "${mutation}"}'`}</code>
      </pre>
      <p class="hint">
        Where a job system is set, and its queues are missing, it cannot be read: the log of the server and
        the command <code>queue-latency check</code> say why.
      </p>
    </section>
  );
}

/** Nothing passes the filters. */
export function NoMatch({ search }: { readonly search: string }) {
  return (
    <section class="empty">
      <h2>No queue matches</h2>
      {search !== "" && (
        <p>
          No name that the other filters leave has “<bdi>{search}</bdi>” in it. In a search, * is any text and
          ? is one character; upper and lower case differ.
        </p>
      )}
      <p>
        <button
          type="button"
          onClick={() => setParams({ q: null, source: null, state: null, health: null }, "push")}
        >
          Show all queues
        </button>
      </p>
    </section>
  );
}

interface AllOkProps {
  readonly count: number;
  /** Whether these are all queues of the server. */
  readonly isAll: boolean;
}

/** On the wall, when nothing has to be done. */
export function AllOk({ count, isAll }: AllOkProps) {
  return (
    <section class="empty all-ok">
      <h2 data-health="OK">
        {count === 1 ? "1 queue is OK" : `${isAll ? "All " : ""}${formatCount(count)} queues are OK`}
      </h2>
    </section>
  );
}
