"""Bare descriptors: a socket object per client would cost more than all that is known of it."""

from __future__ import annotations

import os
import select
import socket
from errno import EINPROGRESS

IP_BIND_ADDRESS_NO_PORT = 24
READ_BYTES = 65_536
INCOMING = select.EPOLLIN
CONNECTING = select.EPOLLIN | select.EPOLLOUT


def dial(source: str, host: str, port: int) -> tuple[int, bool]:
    """Begin to connect; give the descriptor and whether it is connected already.

    The source port is chosen when the connection is made, so that one address gives
    28,000 of them towards each gateway.

    Raises:
        OSError: refused, or there is no port or descriptor left.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        failed = sock.connect_ex((host, port))
        if failed not in (0, EINPROGRESS):
            raise OSError(failed, os.strerror(failed))
    except OSError:
        sock.close()
        raise
    return sock.detach(), not failed


def failure_of(descriptor: int) -> int:
    """Give why a connection could not be made; 0: it was."""
    with socket.socket(fileno=os.dup(descriptor)) as sock:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
