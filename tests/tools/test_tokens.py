from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest

from common.keys import make_secrets
from tools import tokens
from tools.main import main, parser

KEY = "k" * 64


def test_a_token_names_its_user_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    made = tokens.make_token(KEY, "alice", "demo", now, 60, {"tags": ["vip"]})
    assert jwt.get_unverified_header(made)["alg"] == "HS256"
    claims = jwt.decode(made, KEY, algorithms=["HS256"])
    assert claims == {"sub": "alice", "product": "demo", "exp": int(now) + 60, "tags": ["vip"]}


GOOD: dict[str, tuple[Callable[[str], Any], str, Any]] = {
    "seconds": (tokens.seconds, "90", 90),
    "minutes": (tokens.seconds, "15m", 900),
    "days": (tokens.seconds, "2d", 172_800),
    "rooms by rights": (
        tokens.rooms,
        "plaza/*=join,publish;a/b=join",
        {"plaza/*": ["join", "publish"], "a/b": ["join"]},
    ),
    "rooms without rights have all": (tokens.rooms, "plaza/*", {"plaza/*": list(tokens.RIGHTS)}),
    "rooms as JSON": (tokens.rooms, '{"plaza/*": ["history"]}', {"plaza/*": ["history"]}),
    "scopes": (tokens.scopes, "send, watch", ["send", "watch"]),
    "tags": (tokens.tags, "vip,beta", ["vip", "beta"]),
    "a name": (tokens.name, "a@b.c:d-e_F", "a@b.c:d-e_F"),
}


@pytest.mark.parametrize("case", GOOD)
def test_arguments_are_read(case: str) -> None:
    read, text, wanted = GOOD[case]
    assert read(text) == wanted


BAD: dict[str, tuple[Callable[[str], Any], str]] = {
    "a time without number": (tokens.seconds, "soon"),
    "no time": (tokens.seconds, "0"),
    "an unknown right": (tokens.rooms, "plaza/*=fly"),
    "rights that are no list": (tokens.rooms, '{"plaza/*": 1}'),
    "broken JSON": (tokens.rooms, '{"plaza'),
    "an empty pattern": (tokens.rooms, "=join"),
    "an unknown scope": (tokens.scopes, "send,fly"),
    "too many tags": (tokens.tags, ",".join(f"t{i}" for i in range(17))),
    "a tag that is no name": (tokens.tags, "very important"),
    "a uid with a slash": (tokens.name, "a/b"),
    "an empty uid": (tokens.name, ""),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arguments_are_refused(case: str) -> None:
    read, text = BAD[case]
    with pytest.raises(argparse.ArgumentTypeError):
        read(text)


def test_claims_too_large_for_a_resume_token_are_refused() -> None:
    given = parser().parse_args(["token", "alice", "--tags", ",".join("x" * 60 + str(i) for i in range(5))])
    with pytest.raises(ValueError, match="at most 256"):
        tokens.claims_of(given)


def test_the_command_prints_one_token_a_line_and_nothing_else(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROOST_RUN_DIR", str(tmp_path))
    key = make_secrets(tmp_path).token_key
    assert main(["token", "alice", "bob", "--product", "shop", "--ttl", "1h", "--rooms", "plaza/*=join"]) == 0
    lines = capsys.readouterr().out.splitlines()
    claims = [jwt.decode(line, key, algorithms=["HS256"]) for line in lines]
    assert [claim["sub"] for claim in claims] == ["alice", "bob"]
    assert {claim["product"] for claim in claims} == {"shop"}
    assert claims[0]["rooms"] == {"plaza/*": ["join"]}
    assert claims[0]["exp"] - time.time() == pytest.approx(3600, abs=5)


def test_without_secrets_the_command_says_how_to_make_them(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROOST_RUN_DIR", str(tmp_path))
    assert main(["token", "alice"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "make run" in said.err
