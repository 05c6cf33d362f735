"""The JavaScript client: its own tests, and against a real cluster. They need `node`, 18 or newer."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.settings import ROOT
from tests.cluster.cluster import Cluster, running

TESTS = ROOT / "clients" / "js" / "test"
AGAINST_A_CLUSTER = TESTS / "cluster.test.js"
PATIENCE = 300.0
"""Seconds node may take on a busy machine; alone it takes half a minute."""
USERS = ("alice", "bob", "carol", "dave", "erin", "user0", "user1", "user2")


@pytest.fixture(scope="module")
def node() -> str:
    """Where node is. Without it: a skip here, a failure in CI."""
    found = shutil.which("node")
    if found is None and os.environ.get("CI"):
        pytest.fail("CI must install node")
    if found is None:
        pytest.skip("not installed: node")
    return found


@pytest.fixture
def cluster(node: str) -> Iterator[Cluster]:
    with running() as started:
        yield started


def run(node: str, *files: Path, **environment: str) -> None:
    """Run test files; fails with what node says."""
    command = [node, "--test", *map(str, files)]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]


def test_its_own_tests_pass(node: str) -> None:
    run(node, *(file for file in sorted(TESTS.glob("*.test.js")) if file != AGAINST_A_CLUSTER))


def test_it_loses_and_doubles_nothing_against_a_real_cluster(node: str, cluster: Cluster) -> None:
    place = {
        "address": cluster.web_url(),
        "gateways": [cluster.web_url(index) for index in range(cluster.settings.cluster.gateways)],
        "tokens": {uid: cluster.token(uid) for uid in USERS},
        "command": [sys.executable, str(ROOT / "roost")],
    }
    run(node, AGAINST_A_CLUSTER, CLUSTER_OF_TEST=json.dumps(place), **cluster.environment)
