"""The process with the senders: some are clients, some application servers at center's push API.

    python -m loadtest.torture.senders PLAN

A sender numbers what it sends to each receiver, 1, 2, 3 …; the number, receiver and sender are
the message. It repeats a message with the same key until `ok`, and only then sends the next.
Its journal has a row for each message begun, and one for each acknowledged:

    [to, number, ms]      [to, number, ms, mid, tries]
"""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import http.client  # noqa: E402 - patched before anything else is imported
import json  # noqa: E402
import random  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402
from urllib.parse import urlsplit  # noqa: E402

import gevent  # noqa: E402

from loadtest.torture import plan as plans  # noqa: E402
from loadtest.torture.child import Child, now_ms  # noqa: E402
from loadtest.torture.journal import Journal  # noqa: E402
from roost_client import Client, RequestError, RetryPlan, RoostError, Timings  # noqa: E402

ANSWER = 5.0
"""Seconds an answer may take until the message is sent again."""
PADDING = 200
TRIES = (0.1, 0.5)
"""Seconds between two tries, from and to."""
BEHIND = 30.0
"""Seconds a sender may be behind its pace; what a longer outage took is not made up for."""

Send = Callable[[str, Any, str], int]
"""Send `data` to a receiver with a key, once; give the mid, or raise Again or Refused."""


class Again(Exception):
    """No `ok` this time; the text says what instead."""


class Refused(Exception):
    """Repeating cannot help."""


class ByClient:
    """Sends as a user."""

    def __init__(self, plan: plans.Plan, name: str) -> None:
        self._client = Client(
            [(host, port) for host, port in plan.gateways],
            plan.tokens[name],
            device="sender",
            retry=RetryPlan(0.2, 2.0, 3.0),
            timings=Timings(welcome=5.0, answer=5.0),
        )
        self._is_connected = False

    def send(self, to: str, data: Any, key: str) -> int:
        """Send once."""
        try:
            if not self._is_connected:
                self._client.connect(timeout=5.0)
                self._is_connected = True
            if self._client.state != "live":
                raise Again("not connected")
            return int(self._client.send(to, data, keep=True, key=key, timeout=ANSWER)["mid"])
        except RequestError as error:
            raise (Again if error.retry else Refused)(error.code) from error
        except (RoostError, OSError) as error:
            raise Again(type(error).__name__) from error


class ByServer:
    """Sends as an application server."""

    def __init__(self, plan: plans.Plan, name: str) -> None:
        self._plan = plan
        self._connection: http.client.HTTPConnection | None = None

    def send(self, to: str, data: Any, key: str) -> int:
        """Send once."""
        try:
            status, told = self._post({"to": to, "data": data, "keep": True}, key)
        except (OSError, http.client.HTTPException) as error:
            self._close()
            raise Again(f"http {type(error).__name__}") from error
        except ValueError as error:
            raise Again("http no JSON") from error
        if status == 200:
            return int(told["mid"])
        code = f"http {status} {told.get('code')}"
        raise (Again if status >= 500 or status == 429 else Refused)(code)

    def _post(self, body: dict[str, Any], key: str) -> tuple[int, Any]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(urlsplit(self._plan.center).netloc, timeout=ANSWER)
        headers = {
            "Authorization": f"Bearer {self._plan.api_key}",
            "Content-Type": "application/json",
            "Idempotency-Key": key,
        }
        self._connection.request("POST", "/v1/push/unicast", json.dumps(body), headers)
        answer = self._connection.getresponse()
        return answer.status, json.loads(answer.read())

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Sender:
    """One sender."""

    def __init__(self, plan: plans.Plan, name: str, child: Child, dice: random.Random) -> None:
        self._plan = plan
        self._name = name
        self._child = child
        self._dice = dice
        self._journal = Journal(plan.sent_journal(name))
        self._numbers: Counter[str] = Counter()
        self._way = (ByClient if plans.uid_of(name) else ByServer)(plan, name)

    def run(self) -> None:
        """Send at the plan's pace until calm; what was begun is finished."""
        pause = (self._plan.senders + self._plan.servers) / self._plan.per_second
        due = time.monotonic() + self._dice.random() * pause
        while not self._child.calm.wait(max(0.0, due - time.monotonic())):
            self._send_one(self._receiver())
            due = max(due + pause, time.monotonic() - BEHIND)

    def _receiver(self) -> str:
        plan = self._plan
        users = plan.hot_users if self._dice.random() < plan.hot_share else plan.users
        return plan.uid(self._dice.randrange(users))

    def _send_one(self, to: str) -> None:
        self._numbers[to] += 1
        number, tries = self._numbers[to], 0
        data = [self._name, to, number, "x" * self._dice.randrange(PADDING)]
        self._journal.append([to, number, now_ms()])
        self._child.counts.add("sent")
        while not self._child.ending.is_set():
            tries += 1
            try:
                mid = self._way.send(to, data, f"{self._name}.{to}.{number}")
            except Again as error:
                self._child.counts.add(f"again {error}")
                gevent.sleep(self._dice.uniform(*TRIES))
            except Refused as error:
                self._child.counts.add(f"refused {error}")
                return
            else:
                self._journal.append([to, number, now_ms(), mid, tries])
                self._child.counts.add("acknowledged")
                return


def main(path: str) -> None:
    """Run all senders; ends by itself when calm was asked for and all is acknowledged."""
    plan = plans.read(path)
    child = Child(plan, "senders")
    dice = random.Random(plan.seed)
    sending = [
        gevent.spawn(Sender(plan, name, child, random.Random(dice.random())).run)
        for name in plan.sender_names()
    ]

    def end() -> None:
        gevent.joinall(sending)
        child.ending.set()

    gevent.spawn(end)
    child.wait_end("ready")
    child.counts.flush()


if __name__ == "__main__":
    main(sys.argv[1])
