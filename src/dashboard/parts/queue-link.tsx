import { Link } from "./link.tsx";
import { QueueName } from "./queue-name.tsx";

/** A name that leads to the page of its queue. */
export function QueueLink({ queue, ...rest }: { readonly queue: string; readonly class?: string }) {
  return (
    <Link {...rest} to={{ page: "queue", queue }}>
      <QueueName queue={queue} />
    </Link>
  );
}
