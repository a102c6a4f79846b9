# Reads commands from standard input, one JSON object a line, and answers on standard output, one JSON object a line.
import asyncio
import json
import sys

import psycopg_pool
from oban import Oban, worker
from oban.schema import install_sql

done = asyncio.Semaphore(0)


@worker(max_attempts=5)
class Work:
    async def process(self, job):
        done.release()
        if job.args.get("fail"):
            raise RuntimeError("meant to fail")

    def backoff(self, job):
        return 3600


async def work(pool, queue, jobs):
    async with Oban(pool=pool, name=f"worker {queue}", queues={queue: 1}, stager={"interval": 0.05}):
        for _ in range(jobs):
            await done.acquire()


async def main(url):
    async with psycopg_pool.AsyncConnectionPool(url, min_size=1, max_size=8, open=False) as pool:
        async with pool.connection() as connection:
            await connection.execute(install_sql())
        client = Oban(pool=pool)
        workers = []
        while line := await asyncio.to_thread(sys.stdin.readline):
            ask = json.loads(line)
            queue = ask["queue"]
            if ask["do"] == "push":
                options = {"schedule_in": ask["delay"]} if ask.get("delay") else {}
                await Work.enqueue({"fail": ask.get("fail", False)}, queue=queue, priority=ask.get("priority", 0), **options)
            elif ask["do"] == "work":
                await work(pool, queue, ask["jobs"])
            elif ask["do"] == "pause":
                paused = Oban(pool=pool, name=f"paused {queue}", queues={queue: {"limit": 1, "paused": True}})
                workers.append(await paused.start())
            print("{}", flush=True)


asyncio.run(main(sys.argv[1]))
