"""A broadcast server over asyncio and `websockets`: python -m loadtest.peers.websockets_server PORT

The path a client opens is its topic; what it says, all of the topic hear, it too.
"""

from __future__ import annotations

import asyncio
import sys
from collections import defaultdict

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.exceptions import ConnectionClosed

from loadtest.peers.peer import HOST
from loadtest.peers.websockets import READY

BACKLOG = 4096

topics: defaultdict[str, set[ServerConnection]] = defaultdict(set)


async def serve_client(client: ServerConnection) -> None:
    """Have a client hear its topic, and the topic what the client says."""
    assert client.request is not None
    members = topics[client.request.path]
    members.add(client)
    try:
        await client.send(READY)
        async for message in client:
            broadcast(members, message)
    except ConnectionClosed:
        pass
    finally:
        members.discard(client)


async def main(port: int) -> None:
    """Serve until killed."""
    async with serve(serve_client, HOST, port, compression=None, backlog=BACKLOG) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
