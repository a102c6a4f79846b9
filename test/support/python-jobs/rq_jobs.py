# Reads commands from standard input, one JSON object a line, and answers on standard output, one JSON object a line.
import json
import os
import signal
import sys
import time
from datetime import timedelta

import redis
import rq
from rq.suspension import resume, suspend

worked = []
times = []


def now():
    return time.time() * 1000


def work(name):
    # From when it may have been taken.
    times.append([times[-1][1], now()])
    if name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    worked.append(name)
    if name == "fail" and worked.count(name) == 1:
        raise RuntimeError("to be tried again")


def main():
    import rq_jobs  # the module that the worker imports

    connection = redis.Redis.from_url(os.environ["JOBS_REDIS"])
    for line in sys.stdin:
        ask = json.loads(line)
        queue = rq.Queue(ask["queue"], connection=connection)
        noted = rq_jobs.times
        noted[:] = [[now(), now()]]
        if ask["do"] == "push":
            for name in ask["names"]:
                before = now()
                if "delay" in ask:
                    queue.enqueue_in(timedelta(seconds=ask["delay"]), "rq_jobs.work", name)
                else:
                    queue.enqueue("rq_jobs.work", name, at_front=ask.get("atFront", False), retry=rq.Retry(max=1))
                noted.append([before, now()])
        elif ask["do"] == "work":
            rq.SimpleWorker([queue], connection=connection).work(burst=True, logging_level="ERROR", max_jobs=ask["jobs"])
        elif ask["do"] == "purge":
            queue.empty()
        elif ask["do"] == "pause":
            suspend(connection)
        elif ask["do"] == "resume":
            resume(connection)
        print(json.dumps({"worked": rq_jobs.worked, "times": noted[1:]}), flush=True)


if __name__ == "__main__":
    main()
