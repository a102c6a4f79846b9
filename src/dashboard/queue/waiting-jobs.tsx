import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { formatDuration } from "../format/duration.ts";
import { formatTime } from "../format/instant.ts";
import { askWhetherAdmin, isAdmin } from "../graphql/admin.ts";
import { ActionError } from "../parts/error-notice.tsx";
import { Instant } from "../parts/instant.tsx";
import { TableScroll } from "../parts/table-scroll.tsx";
import { useFeed } from "../parts/use-feed.ts";
import { RemoveJobDialog } from "./remove-job-dialog.tsx";
import {
  createWaitingJobsFeed,
  maxListed,
  type WaitingJob,
  type WaitingJobsFeed,
} from "./waiting-jobs-feed.ts";

interface WaitingJobsProps {
  readonly queue: string;
  readonly source: string;
}

/** The jobs that have waited longest, and their removal, for clients with the scope `admin`. */
export function WaitingJobs({ queue, source }: WaitingJobsProps) {
  useEffect(() => void askWhetherAdmin(), []);
  if (isAdmin.value === null) return null;
  return (
    <section class="waiting-jobs" aria-labelledby="waiting-jobs">
      <h2 id="waiting-jobs">Oldest jobs</h2>
      {isAdmin.value ? (
        <JobList queue={queue} source={source} />
      ) : (
        <p class="hint">A token with the scope admin lists them here.</p>
      )}
    </section>
  );
}

function JobList({ queue, source }: WaitingJobsProps) {
  const feed = useFeed(() => {
    const opened = createWaitingJobsFeed(queue);
    void opened.readFirst();
    return opened;
  }, [queue]);
  if (feed === null) return null;
  // The server knows the jobs of some job systems by their number only.
  if (feed.firstError.value?.code === "BAD_USER_INPUT") {
    return <p class="hint">Only {source} knows the jobs of this queue. List and remove them there.</p>;
  }
  return <Jobs feed={feed} queue={queue} source={source} />;
}

function Jobs({ feed, queue, source }: WaitingJobsProps & { readonly feed: WaitingJobsFeed }) {
  const chosen = useSignal<WaitingJob | null>(null);
  const reading = feed.reading.value;
  const isRemovable = source === "events";
  return (
    <>
      <div class="section-actions">
        {reading !== null && (
          <span>
            {reading.jobs.length === maxListed && `The first ${maxListed}, `}as of {formatTime(reading.at)}
          </span>
        )}
        <button type="button" onClick={() => void feed.read()}>
          Read again
        </button>
      </div>
      <p role="status" class="outcome">
        {feed.outcome}
      </p>
      <ActionError error={feed.error.value} />
      {feed.error.value === null && feed.firstError.value !== null && (
        <p class="hint">The list was not read. “Read again” asks for it again.</p>
      )}
      {reading?.jobs.length === 0 && <p class="hint">No job waits.</p>}
      {reading !== null && reading.jobs.length > 0 && (
        <TableScroll label="List of the oldest jobs">
          <table class="jobs">
            <thead>
              <tr>
                <th scope="col">Job</th>
                <th scope="col">Attempt</th>
                <th scope="col">Waited</th>
                <th scope="col">Since</th>
                {isRemovable && (
                  <th scope="col">
                    <span class="visually-hidden">Removal</span>
                  </th>
                )}
              </tr>
            </thead>
            <tbody>
              {reading.jobs.map((job) => (
                <tr key={`${job.attempt}:${job.jobId}`}>
                  <th scope="row">
                    <bdi>{job.jobId}</bdi>
                  </th>
                  <td>{job.attempt}</td>
                  <td>{formatDuration(job.waited)}</td>
                  <td>
                    <Instant at={job.since} />
                  </td>
                  {isRemovable && (
                    <td>
                      <button
                        type="button"
                        aria-label={`Remove job ${job.jobId}`}
                        onClick={() => (chosen.value = job)}
                      >
                        Remove
                      </button>
                    </td>
                  )}
                </tr>
              ))}
            </tbody>
          </table>
        </TableScroll>
      )}
      {!isRemovable && (
        <p class="hint">
          Jobs of {source} are removed in {source} itself.
        </p>
      )}
      {chosen.value !== null && (
        <RemoveJobDialog
          job={chosen.value}
          queue={queue}
          onRemove={feed.remove}
          onClose={() => (chosen.value = null)}
        />
      )}
    </>
  );
}
