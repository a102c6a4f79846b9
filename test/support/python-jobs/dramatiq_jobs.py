# Reads commands from standard input, one JSON object a line, and answers on standard output, one JSON object a line.
import json
import os
import signal
import sys
import time

import dramatiq
from dramatiq.brokers.redis import RedisBroker

# What a worker that died had in hand is put back as soon as another one asks for anything.
broker = RedisBroker(url=os.environ["JOBS_REDIS"], heartbeat_timeout=500, maintenance_chance=1_000_000)
dramatiq.set_broker(broker)
worked = []
actors = {}


def work(name):
    if name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    worked.append(name)


def actor_of(queue):
    if queue not in actors:
        actors[queue] = dramatiq.actor(work, queue_name=queue, actor_name=f"work-{queue}")
    return actors[queue]


def main():
    for line in sys.stdin:
        ask = json.loads(line)
        actor = actor_of(ask["queue"])
        if ask["do"] == "push":
            for name in ask["names"]:
                actor.send_with_options(args=(name,), delay=ask["delay"] * 1000 if "delay" in ask else None)
        elif ask["do"] == "work":
            before = len(worked)
            worker = dramatiq.Worker(broker, queues={ask["queue"]}, worker_timeout=50, worker_threads=1)
            worker.start()
            while len(worked) < before + ask["jobs"]:
                time.sleep(0.01)
            worker.stop()
        elif ask["do"] == "purge":
            broker.flush(ask["queue"])
        print(json.dumps({"worked": worked}), flush=True)


if __name__ == "__main__":
    main()
