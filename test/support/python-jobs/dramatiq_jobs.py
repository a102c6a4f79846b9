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
times = []
actors = {}
limit = 0
running = []


def now():
    return time.time() * 1000


def work(name):
    # From when it may have been taken: with others, into the worker's memory.
    times.append([times[0][0], now()])
    if name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    worked.append(name)
    if len(worked) == limit:
        for thread in running[0].workers:
            thread.paused = True
    if name == "fail":
        raise RuntimeError("to be tried again")


def actor_of(queue):
    if queue not in actors:
        actors[queue] = dramatiq.actor(work, queue_name=queue, actor_name=f"work-{queue}")
    return actors[queue]


def main():
    global limit
    for line in sys.stdin:
        ask = json.loads(line)
        actor = actor_of(ask["queue"])
        times[:] = [[now(), now()]]
        if ask["do"] == "push":
            for name in ask["names"]:
                before = now()
                actor.send_with_options(args=(name,), delay=ask["delay"] * 1000 if "delay" in ask else None)
                times.append([before, now()])
        elif ask["do"] == "work":
            limit = len(worked) + ask["jobs"]
            worker = dramatiq.Worker(broker, queues={ask["queue"]}, worker_timeout=50, worker_threads=1)
            running[:] = [worker]
            worker.start()
            while len(worked) < limit:
                time.sleep(0.01)
            worker.stop()
        elif ask["do"] == "purge":
            broker.flush(ask["queue"])
        print(json.dumps({"worked": worked, "times": times[1:]}), flush=True)


if __name__ == "__main__":
    main()
