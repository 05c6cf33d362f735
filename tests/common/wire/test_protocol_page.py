"""docs/protocol.md and the tables of the code say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.errors import BY_CODE, KICKS
from common.wire import framing, ops, tokens
from common.wire.ops import CLIENT, GAP_REASONS, SERVER
from common.wire.signatures import ALGORITHMS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "protocol.md").read_text()


def section(number: int) -> str:
    return PAGE.split(f"\n## {number}. ")[1].split("\n## ")[0]


def rows(number: int, columns: int) -> dict[str, list[str]]:
    """First column -> the other cells, of the section's first table."""
    table = re.split(r"\n\|(?:---\|)+\n", section(number))[1].split("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.strip().split("\n")]
    assert all(len(line) == columns for line in cells)
    return {line[0]: line[1:] for line in cells}


def request_fields(cell: str) -> list[tuple[str, bool, str]]:
    """(name, required, what stands behind it) of each field a cell names."""
    alternatives = {name for pair in pairs_of_fields(cell) for name in pair}
    found = re.findall(r"`(\w+)`(\??)([^`]*)", cell)
    return [(name, mark == "" and name not in alternatives, behind) for name, mark, behind in found]


def pairs_of_fields(cell: str) -> list[tuple[str, str]]:
    """Fields joined by "or": of these only one may be there."""
    return re.findall(r"`(\w+)`\??(?: {[^}]*})? or `(\w+)`", cell)


def reply_fields(cell: str) -> tuple[str, ...] | None:
    """Names of the reply's fields; None where the cell speaks of something else than `ok`."""
    if cell.startswith("–"):
        return ()
    if not cell.startswith("`"):
        return None
    plain = re.sub(r"\([^()]*\)|\[[^\]]*\]+|;.*", "", cell)
    listed = ",".join(re.findall(r"`([^`]*)`", plain))
    return tuple(re.findall(r"\w+", re.sub(r"{[^}]*}", "", listed)))


def test_the_page_and_the_table_have_the_same_ops_in_the_same_order() -> None:
    assert list(rows(4, 3)) == list(CLIENT)


@pytest.mark.parametrize("op", CLIENT)
def test_the_page_and_the_table_have_the_same_request_fields(op: str) -> None:
    told = request_fields(rows(4, 3)[op][0])
    fields = CLIENT[op].fields
    assert [(name, required) for name, required, _ in told] == [(f.name, f.required) for f in fields]
    for field, (_, _, behind) in zip(fields, told, strict=True):
        limit = re.search(r"≤ (\d+)", behind)
        if limit:
            assert field.high == int(limit[1])
        assert (field.kind == "bool") == ("bool" in behind or field.name in ("keep", "receipt"))


@pytest.mark.parametrize("op", CLIENT)
def test_the_page_and_the_table_have_the_same_alternatives(op: str) -> None:
    told = pairs_of_fields(rows(4, 3)[op][0])
    assert told == ([CLIENT[op].one_of] if CLIENT[op].one_of else [])


@pytest.mark.parametrize("op", CLIENT)
def test_the_page_and_the_table_have_the_same_reply(op: str) -> None:
    assert reply_fields(rows(4, 3)[op][1]) == CLIENT[op].reply


def server_rows() -> dict[str, str]:
    """op -> its cell; where one row speaks of two with different fields, each its own part."""
    told: dict[str, str] = {}
    for names, (cell,) in rows(5, 2).items():
        parts = cell.split(" / ")
        for place, name in enumerate(names.split(" / ")):
            told[name] = parts[min(place, len(parts) - 1)]
    return told


def server_fields(cell: str) -> tuple[str, ...]:
    plain = re.sub(r"\([^()]*\)|\[[^|]*?\](?:…?\])*", "", cell)
    plain = re.sub(r"(`reason`)( `\w+`)+", r"\1", plain)
    either = {name for pair in re.findall(r"`(\w+)` or `(\w+)`", plain) for name in pair}
    names = [name + mark for name, mark in re.findall(r"(\w+)`?(\??)", ",".join(quoted(plain)))]
    return tuple(dict.fromkeys(f"{name}?" if name in either else name for name in names))


def quoted(cell: str) -> list[str]:
    return [text + mark for text, mark in re.findall(r"`([^`]*)`(\??)", cell)]


def test_the_page_and_the_table_have_the_same_server_ops_in_the_same_order() -> None:
    assert list(server_rows()) == list(SERVER)


@pytest.mark.parametrize("op", [op for op in SERVER if op not in ("ok", "error", "pong", "state", "entered")])
def test_the_page_and_the_table_have_the_same_server_fields(op: str) -> None:
    assert server_fields(server_rows()[op]) == SERVER[op]


def test_the_page_and_the_table_have_the_same_fields_of_an_error() -> None:
    told = re.search(r"`error`: `([\w, ]+)`", server_rows()["error"])
    assert told and tuple(told[1].split(", ")) == SERVER["error"]


def test_a_state_has_what_both_its_forms_have() -> None:
    whole, alone = (set(server_fields(form)) for form in server_rows()["state"].split("; or, "))
    always = {name for name in SERVER["state"] if not name.endswith("?")}
    assert always == whole & alone
    assert {name.rstrip("?") for name in SERVER["state"]} == whole | alone


def test_entered_is_the_reply_of_enter_or_away() -> None:
    assert CLIENT["enter"].reply is not None
    assert [name.rstrip("?") for name in SERVER["entered"]] == [*CLIENT["enter"].reply, "away"]


def test_the_page_has_the_reasons_of_a_gap() -> None:
    told = re.search(r"`reason`((?: `\w+`)+)", server_rows()["gap"])
    assert told and tuple(re.findall(r"\w+", told[1])) == GAP_REASONS


def test_the_page_has_the_codes_of_errors_and_which_may_be_tried_again() -> None:
    final, again = section(8).split("\n\n")[1].split(" · ")
    told = dict.fromkeys(re.findall(r"`(\w+)`", final), False)
    told |= dict.fromkeys(re.findall(r"`(\w+)`", again), True)
    assert told == {code: kind.retry for code, kind in BY_CODE.items()}


def test_the_page_has_the_codes_of_kicks_in_the_order_of_their_close_codes() -> None:
    leave, back = section(8).split("\n\n")[2].split("(yes)")[0].split(" · ")
    told = [(code, False) for code in re.findall(r"`(\w+)`", leave)]
    told += [(code, True) for code in re.findall(r"`(\w+)`", back)]
    assert told == list(KICKS.items())


def test_the_page_has_the_limits_of_packets() -> None:
    told = re.search(r"from a client: (\d+) KiB. From the server: (\d+) MiB", PAGE)
    assert told
    assert int(told[1]) << 10 == framing.CLIENT_LIMIT
    assert int(told[2]) << 20 == framing.SERVER_LIMIT


def test_the_page_has_the_claims_of_tokens() -> None:
    claims = {name.strip("`"): cell for name, (cell,) in rows(9, 2).items()}
    assert tuple(re.search(r"\[([\w ]+)\]", claims["rooms"])[1].split()) == tokens.ACTIONS  # type: ignore[index]
    assert tuple(re.search(r"`([\w ]+)`", claims["scopes"])[1].split()) == tokens.SCOPES  # type: ignore[index]
    assert f"≤ {tokens.TAGS_LIMIT} names" in claims["tags"]
    assert f"together take ≤ {tokens.RIGHTS_BYTES} B" in section(9)
    assert f"≤ {tokens.RESUME_BYTES} B" in section(9)
    assert f"{tokens.SKEW_SECONDS} s of clock skew" in PAGE
    for algorithm in ALGORITHMS:
        assert algorithm in PAGE


def test_the_page_has_the_limits_of_fields() -> None:
    assert f"1–{ops.TOKEN_BYTES} bytes" in section(4)
    assert f"1–{ops.TTL_SECONDS} s" in section(4)
    assert f"0–{ops.USERS_LIMIT} uids" in section(4)
    assert f"| `method` | 1–{ops.METHOD_BYTES} bytes |" in section(4)
