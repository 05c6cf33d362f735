from __future__ import annotations

import pytest

from common.rules.owner import FREE, HELD, NEWER, OURS, OVER, Owner, parse_owner, stands

ME = "world-0 0000000000000005-aa 2"
CONFIGURED = ("world-0", "world-1")
OTHER = "world-1 0000000000000005-aa 2"

# owner, what the directory says of world-1 -> how it stands
CASES = {
    "nobody": ("", None, FREE),
    "the caller": (ME, None, OURS),
    "an earlier term of the caller": ("world-0 0000000000000005-aa 1", None, OURS),
    "an earlier life of the caller with a higher term": ("world-0 0000000000000004-ff 9", None, OURS),
    "a later term of the caller": ("world-0 0000000000000005-aa 10", None, NEWER),
    "a later life of the caller": ("world-0 0000000000000006-00 1", None, NEWER),
    "another that lives": (OTHER, ["0000000000000005-aa", 2, "ready", 10], HELD),
    "another that is suspect": (OTHER, ["0000000000000005-aa", 2, "suspect", 7000], HELD),
    "another that stops": (OTHER, ["0000000000000005-aa", 2, "stopping", 10], HELD),
    "another that is gone": (OTHER, ["0000000000000005-aa", 2, "gone", 13000], OVER),
    "another whose term went up": (OTHER, ["0000000000000005-aa", 3, "ready", 10], OVER),
    "another that was restarted": (OTHER, ["0000000000000006-00", 1, "ready", 10], OVER),
    "another that function knows from before only": (OTHER, ["0000000000000004-00", 9, "gone", 10], HELD),
    "another that function does not know": (OTHER, None, HELD),
    "one that is not configured any more": ("world-7 0000000000000005-aa 2", None, OVER),
}


@pytest.mark.parametrize(("owner", "told", "verdict"), CASES.values(), ids=CASES)
def test_how_a_recorded_owner_stands(owner: str, told: list[object] | None, verdict: str) -> None:
    directory = {} if told is None else {"world-1": told}
    assert stands(owner, ME, directory, CONFIGURED) == verdict


def test_an_owner_reads_as_it_was_written() -> None:
    assert parse_owner(ME) == Owner("world-0", "0000000000000005-aa", 2)
    assert str(parse_owner(ME)) == ME
