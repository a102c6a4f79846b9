# The app of the tests. As a program it reads commands from standard input, one JSON object a line, and answers on standard output,
# one JSON object a line; `celery -A celery_jobs worker` works its tasks off, and says when, by this machine's clock.
import json
import os
import signal
import sys
import time

from celery import Celery

app = Celery("jobs", broker=os.environ["CELERY_BROKER"])
app.conf.update(
    task_ignore_result=True,
    worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options=json.loads(os.environ.get("CELERY_TRANSPORT", "{}")),
)


@app.task(name="work", bind=True, max_retries=5, acks_late=True)
def work(self, name, fail=False):
    if name == "slow":
        time.sleep(0.05)
    if name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    print(json.dumps({"worked": name, "at": time.time() * 1000}), flush=True)
    if fail and self.request.retries == 0:
        raise self.retry(countdown=1)


def main():
    for line in sys.stdin:
        ask = json.loads(line)
        queue = ask["queue"]
        times = []
        if ask["do"] == "push":
            options = {key: ask[key] for key in ("countdown", "priority", "headers") if key in ask}
            for name in ask["names"]:
                before = time.time() * 1000
                work.apply_async((name, ask.get("fail", False)), queue=queue, **options)
                times.append([before, time.time() * 1000])
        elif ask["do"] == "purge":
            with app.connection_for_write() as connection:
                connection.default_channel.queue_purge(queue)
        elif ask["do"] == "takeAndReturn":
            # As a worker that stops with a task in hand: the channel puts back what was not acknowledged.
            with app.connection_for_read() as connection:
                channel = connection.channel()
                channel.basic_get(queue)
                channel.close()
        elif ask["do"] == "restore":
            # As any worker does every few seconds with what has been out for longer than the visibility timeout.
            with app.connection_for_read() as connection:
                connection.default_channel.qos.restore_visible(interval=1)
        print(json.dumps({"times": times}), flush=True)


if __name__ == "__main__":
    main()
