from __future__ import annotations

import io
import subprocess
import sys

import pytest

from common.net.log import Doubling, Logger, get, setup
from common.settings import ROOT


def lines_of(level: str) -> tuple[io.StringIO, Logger]:
    stream = io.StringIO()
    setup(level, "gateway-3", stream)
    return stream, get()


def test_an_event_is_one_line_of_key_and_value():
    stream, log = lines_of("info")
    log.info("listening here", port=7000, tls=False)
    line = stream.getvalue()
    assert line.endswith('level=info process=gateway-3 event="listening here" port=7000 tls=false\n')
    assert line.count("\n") == 1


def test_the_time_is_iso_with_milliseconds():
    stream, log = lines_of("info")
    log.info("x")
    time = stream.getvalue().split(" ")[0]
    assert len(time) == len("time=2026-01-02T03:04:05.678Z")
    assert time[-5] == "." and time[-1] == "Z"


def test_a_traceback_stays_on_the_line_of_its_event():
    stream, log = lines_of("info")
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        log.error("crashed", exc_info=error)
    assert stream.getvalue().count("\n") == 1
    assert "Traceback" in stream.getvalue() and "ValueError" in stream.getvalue()


@pytest.mark.parametrize(
    "level, written", {"debug": 4, "info": 3, "warning": 2, "error": 1}.items(), ids=lambda value: str(value)
)
def test_what_is_below_the_level_is_not_written(level: str, written: int):
    stream, log = lines_of(level)
    for method in ("debug", "info", "warning", "error"):
        getattr(log, method)("event")
    assert stream.getvalue().count("\n") == written


def test_a_fact_cannot_forge_a_second_line():
    stream, log = lines_of("info")
    log.info("refused", uid='x\ntime=now event="forged"')
    assert stream.getvalue().count("\n") == 1


def test_doubling_says_true_at_powers_of_two_only():
    counter = Doubling()
    hits = [n for n in range(1, 20) if counter.hit()]
    assert hits == [1, 2, 4, 8, 16]
    assert counter.count == 19


def test_a_server_process_does_not_carry_what_only_consoles_need() -> None:
    program = "import sys, servers.gateway; print('rich' in sys.modules); import rich.table"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False"]
