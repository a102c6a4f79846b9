import { useEffect } from "preact/hooks";
import { announce } from "../announcements.tsx";
import { healthWords } from "../format/health-words.ts";
import { isolated } from "../format/isolated.ts";
import { queueNow } from "../graphql/documents.ts";
import { ErrorNotice } from "../parts/error-notice.tsx";
import { QueueName } from "../parts/queue-name.tsx";
import { useEscape } from "../parts/use-escape.ts";
import { useFeed } from "../parts/use-feed.ts";
import { usePageQuery } from "../parts/use-page-query.ts";
import { explainHealth } from "./explain-health.ts";
import { NowPanel } from "./now-panel.tsx";
import { QueueAlerts } from "./queue-alerts.tsx";
import { createQueueFeed } from "./queue-feed.ts";
import { QueueHistory } from "./queue-history.tsx";
import { TrustQueue } from "./trust-queue.tsx";
import { WaitingJobs } from "./waiting-jobs.tsx";

/** One queue: how it is now and why, what was, and its oldest jobs. */
export function QueuePage({ queue }: { readonly queue: string }) {
  const feed = useFeed(() => createQueueFeed(queue), [queue]);
  usePageQuery(queueNow, { queue });
  useEscape();
  const now = feed?.now.value ?? null;
  const error = feed?.error.value ?? null;
  const health = now?.health;
  useEffect(() => {
    if (now !== null)
      announce(`${isolated(queue)}: ${healthWords[now.health]}. ${explainHealth(now).reason}`);
  }, [health]);
  return (
    <main class="queue-page">
      <header class="page-head">
        <h1>
          <QueueName queue={queue} />
        </h1>
        {now !== null && now.source !== null && now.source !== "events" && (
          <p class="hint">read from {now.source}</p>
        )}
      </header>
      <ErrorNotice error={error} isAtTop />
      {now === null && error === null && <p class="hint">Reading…</p>}
      {now !== null && <NowPanel now={now} />}
      {now?.accuracy === "INCOMPLETE" && <TrustQueue queue={queue} />}
      <QueueAlerts queue={queue} />
      {error?.code !== "BAD_USER_INPUT" && <QueueHistory queue={queue} now={now} />}
      {now !== null && now.state !== "MISSING" && (
        <WaitingJobs queue={queue} source={now.source ?? "events"} />
      )}
    </main>
  );
}
