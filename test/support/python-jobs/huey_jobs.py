# Reads commands from standard input, one JSON object a line, and answers on standard output, one JSON object a line.
import json
import os
import signal
import sys
import time

from huey import PriorityRedisHuey, RedisHuey

worked = []
hueys = {}


def now():
    return time.time() * 1000


def work(name):
    if name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    worked.append(name)
    if name == "fail" and worked.count(name) == 1:
        raise RuntimeError("to be tried again")


def huey_of(queue):
    if queue not in hueys:
        storage = PriorityRedisHuey if os.environ.get("JOBS_STORAGE") == "priorities" else RedisHuey
        huey = storage(queue, url=os.environ["JOBS_REDIS"], results=False)
        hueys[queue] = (huey, huey.task(name="work", retries=1)(work))
    return hueys[queue]


def main():
    for line in sys.stdin:
        ask = json.loads(line)
        huey, task = huey_of(ask["queue"])
        times = []
        if ask["do"] == "push":
            for name in ask["names"]:
                before = now()
                if "delay" in ask:
                    task.schedule((name,), delay=ask["delay"])
                else:
                    task(name, priority=ask.get("priority"))
                times.append([before, now()])
        elif ask["do"] == "work":
            for _ in range(ask["jobs"]):
                before = now()
                taken = huey.dequeue()
                times.append([before, now()])
                huey.execute(taken)
        elif ask["do"] == "purge":
            huey.flush()
        print(json.dumps({"worked": worked, "times": times}), flush=True)


if __name__ == "__main__":
    main()
