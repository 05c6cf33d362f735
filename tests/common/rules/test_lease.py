from __future__ import annotations

from common.rules.lease import Lease


def test_a_process_that_beats_in_time_keeps_its_term():
    lease = Lease(frozen_after=6, now=100)
    assert not any(lease.beat(now) for now in (103, 109, 115))
    assert lease.term == 1


def test_a_beat_that_is_too_late_raises_the_term_once():
    lease = Lease(frozen_after=6, now=100)
    assert lease.frozen(106.1)
    assert lease.beat(106.1)
    assert lease.term == 2
    assert not lease.frozen(106.1)
    assert not lease.beat(107)
    assert lease.term == 2


def test_a_beat_just_in_time_is_in_time():
    assert not Lease(frozen_after=6, now=100).frozen(106)


def test_asking_changes_nothing():
    lease = Lease(frozen_after=6, now=100)
    assert lease.frozen(200)
    assert lease.frozen(200)
    assert lease.term == 1
