import { formatDuration } from "../format/duration.ts";
import { isolated } from "../format/isolated.ts";
import { Dialog } from "../parts/dialog.tsx";
import { QueueName } from "../parts/queue-name.tsx";
import type { WaitingJob } from "./waiting-jobs-feed.ts";

interface RemoveJobDialogProps {
  readonly job: WaitingJob;
  readonly queue: string;
  readonly onRemove: (job: WaitingJob) => Promise<void>;
  readonly onClose: () => void;
}

/** Asks before a job is removed, and names it. */
export function RemoveJobDialog({ job, queue, onRemove, onClose }: RemoveJobDialogProps) {
  return (
    <Dialog title={`Remove job ${isolated(job.jobId)}?`} onClose={onClose}>
      <p>
        Job{" "}
        <strong>
          <bdi>{job.jobId}</bdi>
        </strong>
        , attempt {job.attempt}, has waited {formatDuration(job.waited)} in{" "}
        <strong>
          <QueueName queue={queue} />
        </strong>
        .
      </p>
      <p>
        It no longer counts in this queue's latency and depth. The job itself is not stopped: a worker that
        can take it still does.
      </p>
      <div class="dialog-actions">
        <button type="button" onClick={onClose}>
          Keep it
        </button>
        <button
          type="button"
          class="danger"
          onClick={() => {
            onClose();
            void onRemove(job);
          }}
        >
          Remove job <bdi>{job.jobId}</bdi>
        </button>
      </div>
    </Dialog>
  );
}
