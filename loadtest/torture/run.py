"""One run from start to verdict.

start     cluster, users, proxy, hosts; all devices connected once
storm     senders send; processes, hosts and Redis are killed, networks misbehave
calm      senders finish, nothing is killed, devices get the rest
verdict   journals read, judged, reported
"""

from __future__ import annotations

import http.client
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from loadtest.bench.machine import facts
from loadtest.torture import counts, evidence, report
from loadtest.torture.family import Process
from loadtest.torture.judge import Judge, Verdict
from loadtest.torture.killer import Killer
from loadtest.torture.plan import Plan, uid_of
from tests.cluster.cluster import Cluster
from tools.apikeys import create

SETTINGS: dict[str, Any] = {"gateway.ping": 8, "gateway.retry_base": 0.2, "gateway.retry_max": 3.0}
"""What is silent is found out, and comes back, fast enough for a run of a minute."""
TOKENS_LAST = 86_400
TURN = 0.05
TELL_EVERY = 5.0
QUIET = 1.5
"""Seconds after everything is there in which nothing more may come."""

Say = Callable[[str], None]


class Run:
    """A run of a plan on a cluster of its own."""

    def __init__(self, plan: Plan, say: Say) -> None:
        self._plan = plan
        self._say = say
        self._dice = random.Random(plan.seed)
        self._hosts: list[Process] = []
        self._others: list[Process] = []
        self._back: dict[int, float] = {}
        self._hosts_killed = 0
        self._began = time.monotonic()

    def carry_out(self) -> dict[str, Any]:
        """Run; give the figures, which are written to the folder too."""
        plan = self._plan
        shutil.rmtree(plan.folder, ignore_errors=True)
        plan.make_folders()
        cluster = Cluster(SETTINGS)
        try:
            cluster.wait_ready()
            self._tell("the cluster is ready")
            return self._on(cluster)
        finally:
            shutil.copytree(cluster.run_dir / "log", Path(plan.folder) / "logs" / "cluster")
            for process in (*self._hosts, *self._others):
                process.end()
            cluster.stop()

    def _on(self, cluster: Cluster) -> dict[str, Any]:
        self._start(cluster)
        self._tell("all devices are connected; the storm begins")
        senders = Process(self._plan, "senders")
        self._others.append(senders)
        senders.ready()
        killer = Killer(cluster, self._dice)
        storm = self._storm(killer)
        drained = self._calm(senders)
        dropped = self._dropped()
        for host in self._hosts:
            host.end()
        for process in self._others:
            process.end()
        killed = killer.count()
        verdict = self._judge(storm, killed, len(killer.redis), dropped)
        sums = counts.total(Path(self._plan.folder) / "counts")
        figures = report.gather(
            self._plan, verdict, killed, len(killer.redis), self._hosts_killed, sums, facts(), storm, drained
        )
        report.write(Path(self._plan.folder), figures)
        return figures

    # start

    def _start(self, cluster: Cluster) -> None:
        plan = self._plan.write()
        gateways = [list(cluster.tcp(index)) for index in range(cluster.settings.cluster.gateways)]
        key = create(cluster.settings, plan.product, ["admin"], "torture")
        uids = [*map(plan.uid, range(plan.users)), *filter(None, map(uid_of, plan.sender_names()))]
        tokens = {uid: cluster.token(uid, plan.product, TOKENS_LAST) for uid in uids}
        known = {"gateways": gateways, "center": cluster.center_url(), "api_key": key}
        plan = self._plan = plan.write(tokens=tokens, **known)
        proxy = Process(plan, "proxy")
        self._others.append(proxy)
        self._plan = plan.write(proxy_port=int(proxy.ready()))
        self._hosts = [self._host(number) for number in range(plan.hosts)]
        self._make_users()
        self._tell("users and processes are there; devices come in")
        for process in self._hosts:
            assert process.ready() == "ready", f"{process.name} did not start; see its log"

    def _make_users(self) -> None:
        """Make the users: a login makes one too, but storage hears of that a moment later."""
        for user in range(self._plan.users):
            status, told = self._ask("PUT", f"/v1/users/{self._plan.uid(user)}")
            assert status == 200, told

    def _host(self, number: int) -> Process:
        return Process(self._plan, "devices", str(number))

    def _ask(self, method: str, path: str) -> tuple[int, Any]:
        """Ask center."""
        plan = self._plan
        connection = http.client.HTTPConnection(urlsplit(plan.center).netloc, timeout=10)
        try:
            connection.request(method, path, headers={"Authorization": f"Bearer {plan.api_key}"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    # storm

    def _storm(self, killer: Killer) -> float:
        """Kill, in time, until the time is over; give how long it was."""
        plan, began = self._plan, time.monotonic()
        self._began = began
        next_kill, next_tell = plan.kill_every / 2, TELL_EVERY
        next_host, redis_at = plan.host_kill_every / 2, plan.seconds / 2
        while (second := time.monotonic() - began) < plan.seconds:
            if second >= next_kill:
                next_kill += plan.kill_every
                self._tell(f"kill -9 {killer.kill_next().name}")
            if second >= redis_at and not killer.redis:
                self._tell(f"kill -9 {killer.kill_redis().name}")
            if second >= next_host:
                next_host += plan.host_kill_every
                self._kill_host()
            self._restart_hosts(time.monotonic())
            if second >= next_tell:
                next_tell += TELL_EVERY
                self._progress()
            self._check_children()
            time.sleep(TURN)
        return time.monotonic() - began

    def _kill_host(self) -> None:
        number = self._dice.randrange(len(self._hosts))
        if number in self._back:
            return
        self._hosts[number].kill()
        self._hosts_killed += 1
        self._back[number] = time.monotonic() + self._dice.uniform(0, self._plan.host_back)

    def _restart_hosts(self, now: float) -> None:
        for number in [number for number, at in self._back.items() if at <= now]:
            del self._back[number]
            self._hosts[number] = self._host(number)

    def _check_children(self, but: Process | None = None) -> None:
        for number, host in enumerate(self._hosts):
            assert number in self._back or host.is_alive, f"{host.name} ended by itself; see its log"
        for process in self._others:
            assert process.is_alive or process is but, f"{process.name} ended by itself; see its log"

    # calm

    def _calm(self, senders: Process) -> float:
        """Let all finish; give how long it took."""
        plan, began = self._plan, time.monotonic()
        self._restart_hosts(float("inf"))
        plan.calm.touch()
        self._tell("calm; devices get the rest")
        next_tell = began + TELL_EVERY
        while time.monotonic() - began < plan.drain:
            if not senders.is_alive and evidence.is_complete(plan):
                drained = time.monotonic() - began
                time.sleep(QUIET)
                return drained
            if time.monotonic() >= next_tell:
                next_tell += TELL_EVERY
                self._progress()
            self._check_children(but=senders)
            time.sleep(0.25)
        return time.monotonic() - began

    def _dropped(self) -> int:
        """Give how many messages mailboxes dropped unread, by the server's word."""
        found = 0
        for user in range(self._plan.users):
            status, told = self._ask("GET", f"/v1/users/{self._plan.uid(user)}")
            assert status == 200, told
            found += told["mailbox"]["dropped"]
        return found

    def _judge(self, seconds: float, killed: Counter[str], redis: int, dropped: int) -> Verdict:
        plan = self._plan
        judge = Judge(evidence.sent(plan))
        for uid, device in plan.devices():
            judge.device(uid, device, evidence.received(plan, uid, device))
        return judge.run(seconds, killed, redis, dropped, plan.least_messages, plan.least_kills)

    # screen

    def _progress(self) -> None:
        sums = counts.total(Path(self._plan.folder) / "counts")
        self._tell(
            f"{sums['sent']:>7,} sent  {sums['acknowledged']:>7,} ok  {sums['received']:>8,} received  "
            f"{sums['connections']:>6,} connections  {sums['repeats']:>6,} repeats"
        )

    def _tell(self, words: str) -> None:
        seconds = int(time.monotonic() - self._began)
        self._say(f"{seconds // 60:>3}:{seconds % 60:02}  {words}")
