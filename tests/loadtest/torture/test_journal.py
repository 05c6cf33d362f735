"""The disk state of devices and senders: what is there after the writer was killed at any point."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.torture.journal import Journal, count, rows


def test_rows_come_back_in_their_order(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j")
    for number in range(3):
        journal.append([number, "x"])
    journal.close()
    assert list(rows(tmp_path / "j")) == [[0, "x"], [1, "x"], [2, "x"]]
    assert count(tmp_path / "j") == 3


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_line_cut_short_is_no_row_and_is_gone_when_the_file_is_opened_again(
    tmp_path: Path, cut: int
) -> None:
    path = tmp_path / "j"
    Journal(path).append([1, "one"])
    whole = path.read_bytes()
    path.write_bytes(whole + b'[2,"two"]\n'[:cut])
    assert list(rows(path)) == [[1, "one"]]
    journal = Journal(path)
    assert journal.newest(lambda row: True) == [1, "one"]
    journal.append([3])
    assert list(rows(path)) == [[1, "one"], [3]]


def test_the_newest_row_wanted_is_found_behind_others_also_in_a_long_file(tmp_path: Path) -> None:
    path = tmp_path / "j"
    journal = Journal(path)
    assert journal.newest(lambda row: True) is None
    for number in range(20_000):
        journal.append([number])
    journal.append([None])
    assert Journal(path).newest(lambda row: row[0] is not None) == [19_999]


def test_a_file_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert list(rows(tmp_path / "none")) == []
    assert count(tmp_path / "none") == 0
