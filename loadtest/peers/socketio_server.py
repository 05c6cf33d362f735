"""A broadcast server over python-socketio and gevent: python -m loadtest.peers.socketio_server PORT

A client joins a room by the event "join"; what it says to one by "say", all of the room hear as "m".
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402 - patched before anything else is imported

import socketio  # noqa: E402
from gevent.pywsgi import WSGIServer  # noqa: E402

from loadtest.peers.peer import HOST  # noqa: E402

BACKLOG = 4096

server = socketio.Server(async_mode="gevent", async_handlers=False, transports=["websocket"])


@server.on("join")  # type: ignore[untyped-decorator]
def join(sid: str, room: str) -> str:
    """Have a client hear a room."""
    server.enter_room(sid, room)
    return "joined"


@server.on("say")  # type: ignore[untyped-decorator]
def say(sid: str, room: str, words: str) -> None:
    """Have all of a room hear it."""
    server.emit("m", words, room=room)


if __name__ == "__main__":
    where = (HOST, int(sys.argv[1]))
    WSGIServer(where, socketio.WSGIApp(server), backlog=BACKLOG, log=None).serve_forever()
