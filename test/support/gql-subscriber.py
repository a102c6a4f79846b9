"""Subscribes with Python's gql as its documentation says, and prints a line for each thing that happens.

Usage: gql-subscriber.py URL QUERY
Prints `next JSON` for each push, `complete` when the stream is over, `error NAME` when it breaks; then subscribes again.
"""
import asyncio
import json
import sys

from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport


async def main(url, query):
    transport = WebsocketsTransport(url=url, subprotocols=["graphql-transport-ws"])
    client = Client(transport=transport)
    session = await client.connect_async(reconnecting=True, retry_connect=True)
    while True:
        try:
            async for result in session.subscribe(gql(query)):
                print("next", json.dumps(result), flush=True)
            print("complete", flush=True)
            return
        except Exception as error:
            print("error", type(error).__name__, flush=True)
            await asyncio.sleep(0.2)


asyncio.run(main(*sys.argv[1:]))
