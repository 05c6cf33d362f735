"""Links: items per second from one real process to another, in batches of different sizes.

The ceiling: the same batches through a bare pipe between two processes, packed by one
and unpacked by the other; nobody judges, queues or hands out anything.
"""

from __future__ import annotations

import multiprocessing
import shutil
import tempfile
import time
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from common.keys import make_secrets
from common.wire.batch import Header, pack_batch, pack_item, unpack_batch
from loadtest.bench.commands import Commanded

ENDS = ("gateway-0", "world-0")
TOGETHER = (1, 16, 256)
PATIENCE = 60.0


def measure(items: int = 100_000, bytes: int = 100, rounds: int = 5) -> dict[str, Any]:
    """Give items per second by how many are sent in one turn of the sender's loop.

    Args:
        items: in one round; together they must fit a link's queue (link.queue_bytes), since a
            receiver that falls behind by more than that begins the stream anew.
    """
    folder = Path(tempfile.mkdtemp(prefix="roost-", dir="/tmp"))
    try:
        (folder / "sock").mkdir()
        make_secrets(folder)
        with ExitStack() as stack:
            sender, receiver = (
                stack.enter_context(
                    Commanded("loadtest.bench.link_end", {"name": own, "peer": peer, "run_dir": str(folder)})
                )
                for own, peer in (ENDS, ENDS[::-1])
            )
            _wait_up(sender, receiver)
            rows = [_row(sender, receiver, together, items, bytes, rounds) for together in TOGETHER]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return {"items": items, "item_bytes": len(_item(bytes)), "batches": rows}


def _row(
    sender: Commanded, receiver: Commanded, together: int, items: int, bytes: int, rounds: int
) -> dict[str, Any]:
    links = [_link(sender, receiver, together, items, bytes) for _ in range(rounds)]
    pipes = [_pipe(together, items, bytes) for _ in range(rounds)]
    rate, ceiling = median(row["rate"] for row in links), median(pipes)
    return {
        "together": together,
        "items_per_second": round(rate),
        "items_per_sender_cpu_second": round(median(row["sender"] for row in links)),
        "items_per_receiver_cpu_second": round(median(row["receiver"] for row in links)),
        "ceiling_items_per_second": round(ceiling),
        "of_ceiling": round(rate / ceiling, 3),
    }


def _wait_up(*ends: Commanded) -> None:
    until = time.monotonic() + PATIENCE
    while not all(end.order("report")["up"] for end in ends):
        if time.monotonic() > until:
            raise TimeoutError("the link did not come up")
        time.sleep(0.05)


def _link(sender: Commanded, receiver: Commanded, together: int, items: int, bytes: int) -> dict[str, float]:
    before = sender.order("report"), receiver.order("report")
    began = time.monotonic()
    sent = sender.order("send", items=items, together=together, bytes=bytes)["sent"]
    wanted = before[1]["received"] + sent
    while (arrived := receiver.order("report"))["received"] < wanted:
        if time.monotonic() > began + PATIENCE:
            raise TimeoutError(f"{arrived['received']} of {wanted} items arrived")
        time.sleep(0.002)
    seconds = time.monotonic() - began
    used = sender.order("report")["cpu"] - before[0]["cpu"], arrived["cpu"] - before[1]["cpu"]
    return {"rate": sent / seconds, "sender": sent / used[0], "receiver": sent / used[1]}


def _item(bytes: int) -> bytes:
    return pack_item(["item", "x" * bytes])


def _pipe(together: int, items: int, bytes: int) -> float:
    """Give items per second through a bare pipe."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    reader = context.Process(target=_unpack_all, args=(theirs,))
    reader.start()
    theirs.close()
    header, item = Header(*ENDS[:1], "", 1, "", 1, 1, 1), _item(bytes)
    assert ours.recv() == 0
    began = time.monotonic()
    for _ in range(items // together):
        ours.send_bytes(pack_batch(header, [item] * together))
    ours.send_bytes(b"")
    taken: int = ours.recv()
    seconds = time.monotonic() - began
    reader.join()
    return taken / seconds


def _unpack_all(pipe: Connection) -> None:
    pipe.send(0)
    taken = 0
    while blob := pipe.recv_bytes():
        taken += len(unpack_batch(blob)[1])
    pipe.send(taken)
