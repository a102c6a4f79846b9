import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { isolated } from "../format/isolated.ts";
import { askWhetherAdmin, isAdmin, noteRefusal } from "../graphql/admin.ts";
import { type ApiError, apiErrorOf } from "../graphql/api-error.ts";
import { query } from "../graphql/client.ts";
import { trustQueue } from "../graphql/documents.ts";
import { Dialog } from "../parts/dialog.tsx";
import { ActionError } from "../parts/error-notice.tsx";
import { QueueName } from "../parts/queue-name.tsx";

/** Ends INCOMPLETE, for clients with the scope `admin`. */
export function TrustQueue({ queue }: { readonly queue: string }) {
  useEffect(() => void askWhetherAdmin(), []);
  const isAsking = useSignal(false);
  const error = useSignal<ApiError | null>(null);
  if (isAdmin.value !== true) return null;

  async function trust(): Promise<void> {
    isAsking.value = false;
    try {
      await query(trustQueue, { queue });
      error.value = null;
    } catch (reason) {
      error.value = noteRefusal(apiErrorOf(reason));
    }
  }

  return (
    <>
      <button type="button" onClick={() => (isAsking.value = true)}>
        Trust the numbers again
      </button>
      <ActionError error={error.value} />
      {isAsking.value && (
        <Dialog title={`Trust the numbers of ${isolated(queue)}?`} onClose={() => (isAsking.value = false)}>
          <p>
            Its accuracy is EXACT from then on, and alerts resolve again. First remove jobs that no longer
            wait: they would make the queue look late.
          </p>
          <div class="dialog-actions">
            <button type="button" onClick={() => (isAsking.value = false)}>
              Not yet
            </button>
            <button type="button" onClick={() => void trust()}>
              Trust <QueueName queue={queue} />
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}
