# Reads commands from standard input, one JSON object a line, and answers on standard output, one JSON object a line.
import asyncio
import json
import os
import signal
import sys

from arq import Retry, create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

worked = []
gates = {}


async def work(ctx, name):
    if name == "fail" and ctx["job_try"] == 1:
        raise Retry(defer=3600)
    if name == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    worked.append(name)
    if name == "slow":
        await gates.setdefault(name, asyncio.Event()).wait()


async def main():
    settings = RedisSettings.from_dsn(os.environ["JOBS_REDIS"])
    pool = await create_pool(settings)
    running = None
    for line in iter(sys.stdin.readline, ""):
        ask = json.loads(line)
        queue = ask["queue"]
        if ask["do"] == "push":
            for name in ask["names"]:
                await pool.enqueue_job("work", name, _queue_name=queue, _defer_by=ask.get("delay"))
                # Of two jobs of one millisecond the one with the lesser id, which is random, is taken first.
                await asyncio.sleep(0.002)
        elif ask["do"] in ("work", "start"):
            options = {"redis_settings": settings, "queue_name": queue, "poll_delay": 0.02, "handle_signals": False}
            worker = Worker([work], burst=True, max_burst_jobs=ask["jobs"], **options)
            running = asyncio.create_task(worker.async_run())
            if ask["do"] == "work":
                await running
            else:
                while ask["name"] not in worked:
                    await asyncio.sleep(0.01)
        elif ask["do"] == "finish":
            gates["slow"].set()
            await running
        elif ask["do"] == "purge":
            await pool.delete(queue)
        print(json.dumps({"worked": worked}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
