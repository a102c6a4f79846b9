# Reads commands from standard input, one JSON object a line, and answers on standard output, one JSON object a line.
import asyncio
import json
import sys

import procrastinate

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=sys.argv[1]))


@app.task(name="work", retry=procrastinate.RetryStrategy(max_attempts=5, wait=3600))
async def work(fail):
    if fail:
        raise RuntimeError("meant to fail")


async def main():
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        while line := await asyncio.to_thread(sys.stdin.readline):
            ask = json.loads(line)
            if ask["do"] == "push":
                schedule = {"schedule_in": {"seconds": ask["delay"]}} if ask.get("delay") else {}
                task = work.configure(queue=ask["queue"], priority=ask.get("priority", 0), **schedule)
                await task.defer_async(fail=ask.get("fail", False))
            elif ask["do"] == "work":
                await app.run_worker_async(queues=[ask["queue"]], wait=False, install_signal_handlers=False)
            print("{}", flush=True)


asyncio.run(main())
