"""Records what happens to jobs with queue-latency. Python 3.8 or later, standard library only.

As a module:

    recorder = Recorder("http://127.0.0.1:4000", token=None)
    recorder.record("ENQUEUED", "mail", "42")
    recorder.close()

As a program it reads lines of TYPE QUEUE JOB_ID, such as "ENQUEUED mail 42":

    python3 recorder.py http://127.0.0.1:4000 < events
"""

import json
import os
import random
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import deque
from datetime import datetime, timezone

MUTATION = """mutation ($events: [QueueEventInput!]!, $batchId: ID) {
  recordEvents(events: $events, batchId: $batchId, onInvalid: SKIP) { rejected { eventIndex field reason } }
}"""
BATCH_EVENTS = 1000
MAX_BUFFERED_EVENTS = 100_000
FLUSH_SECONDS = 0.2
REQUEST_TIMEOUT_SECONDS = 10
GIVE_UP_SECONDS = 240  # less than the server's EVENT_WINDOW
RETRIED_CODES = {"UNAUTHENTICATED", "FORBIDDEN", "THROTTLED", "SERVICE_UNAVAILABLE", "INTERNAL_SERVER_ERROR"}


class Recorder:
    """Sends events in batches from a thread of its own. record() never blocks and never raises."""

    def __init__(self, url, token=None):
        self.url = url.rstrip("/") + "/graphql"
        self.token = token
        self.recorded = 0
        self.dropped = 0
        self._events = deque()
        self._changed = threading.Condition()
        self._deadline = None  # set by close()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def record(self, event_type, queue, job_id, **details):
        """`details` are attempt, at and availableAt, as in the GraphQL type QueueEventInput."""
        at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        event = {"type": event_type, "queue": queue, "jobId": str(job_id), "at": at, **details}
        with self._changed:
            if self._deadline is not None or len(self._events) >= MAX_BUFFERED_EVENTS:
                self.dropped += 1
                return
            self._events.append(event)
            if len(self._events) == BATCH_EVENTS:
                self._changed.notify()

    def close(self, timeout_seconds=5):
        """Sends what is left, for so long at most."""
        with self._changed:
            self._deadline = time.monotonic() + timeout_seconds
            self._changed.notify()
        self._thread.join()

    def _run(self):
        while True:
            with self._changed:
                if self._deadline is None and len(self._events) < BATCH_EVENTS:
                    self._changed.wait(FLUSH_SECONDS)
                batch = [self._events.popleft() for _ in range(min(BATCH_EVENTS, len(self._events)))]
                if not batch and self._deadline is not None:
                    return
            if batch:
                self._deliver(batch)

    def _deliver(self, batch):
        """The same body each time: the server knows the batch by its id, and counts it once."""
        variables = {"events": batch, "batchId": str(uuid.uuid4())}
        body = json.dumps({"query": MUTATION, "variables": variables}).encode()
        give_up_at = time.monotonic() + GIVE_UP_SECONDS
        wait = 0.1
        while True:
            answer, retry_after = self._post(body)
            data = (answer or {}).get("data") or {}
            if data.get("recordEvents"):
                rejected = len(data["recordEvents"]["rejected"])
                self._count(len(batch) - rejected, rejected)
                return
            error = ((answer or {}).get("errors") or [None])[0]
            if error and (error.get("extensions") or {}).get("code") not in RETRIED_CODES:
                print(f"batch refused: {error['message']}", file=sys.stderr)
                self._count(0, len(batch))
                return
            pause = max(retry_after, wait * random.uniform(0.5, 1.5))
            wait = min(2 * wait, 10)
            if not self._pause(pause, give_up_at):
                print("batch given up: no answer in time", file=sys.stderr)
                self._count(0, len(batch))
                return

    def _post(self, body):
        headers = {"content-type": "application/json", "accept": "application/graphql-response+json"}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_SECONDS) as response:
                return json.load(response), 0
        except urllib.error.HTTPError as error:
            seconds = error.headers.get("retry-after") or ""
            try:
                return json.load(error), int(seconds) if seconds.isdigit() else 0
            except (OSError, ValueError):
                return None, 0
        except (OSError, ValueError):  # no connection, a timeout, half an answer
            return None, 0

    def _pause(self, seconds, give_up_at):
        """False when there is no time for another attempt."""
        until = time.monotonic() + seconds
        with self._changed:
            while True:
                last = min(give_up_at, self._deadline or give_up_at)
                if until > last:
                    return False
                left = until - time.monotonic()
                if left <= 0:
                    return True
                self._changed.wait(left)

    def _count(self, recorded, dropped):
        with self._changed:
            self.recorded += recorded
            self.dropped += dropped


def main():
    recorder = Recorder(sys.argv[1], os.environ.get("QUEUE_LATENCY_TOKEN"))
    for line in sys.stdin:
        recorder.record(*line.split())
    recorder.close(timeout_seconds=60)
    print(f"recorded {recorder.recorded} dropped {recorder.dropped}")


if __name__ == "__main__":
    main()
