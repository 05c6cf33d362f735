"""All servers of the bench, in the order of the report."""

from __future__ import annotations

from collections.abc import Callable

from loadtest.peers.mosquitto import Mosquitto
from loadtest.peers.nats import Nats
from loadtest.peers.nchan import Nchan
from loadtest.peers.peer import Peer
from loadtest.peers.roost import Roost
from loadtest.peers.socketio import SocketIO
from loadtest.peers.websockets import Websockets

PEERS: dict[str, Callable[..., Peer]] = {
    "roost": Roost,
    "nats": Nats,
    "nchan": Nchan,
    "mosquitto": Mosquitto,
    "socketio": SocketIO,
    "websockets": Websockets,
}
