from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadField, UnknownOp
from common.wire.codec import UNDECODABLE, decode, encode
from common.wire.ops import CLIENT, check

SMALLEST: dict[str, dict[str, Any]] = {
    "hello": {"v": 1, "token": "t", "device": "d"},
    "refresh": {"token": "t"},
    "ping": {},
    "join": {"room": "plaza/lobby"},
    "leave": {"room": "plaza/lobby"},
    "publish": {"room": "plaza/lobby", "data": None},
    "history": {"room": "plaza/lobby"},
    "presence": {"room": "plaza/lobby"},
    "watch": {"users": ["a"]},
    "profile": {},
    "send": {"to": "bob", "data": 1},
    "ack": {},
    "inbox": {"after": 0},
    "enter": {"map": "arena"},
    "input": {"n": 0, "data": 1},
    "exit": {},
    "call": {"room": "plaza/lobby", "method": "roll"},
    "bye": {},
}

DEFAULTS: dict[str, dict[str, Any]] = {
    "hello": {"resume": None, "kind": "", "client": None, "ticket": None},
    "join": {"since": None, "presence": False},
    "publish": {"key": None},
    "history": {"since": None, "limit": 300},
    "presence": {"users": None},
    "watch": {"off": False},
    "profile": {"set": None, "users": None},
    "send": {"to": ["bob"], "keep": False, "ttl": 2_592_000, "key": None, "receipt": False},
    "ack": {"seq": None, "bseq": None},
    "inbox": {"bafter": None, "limit": 100},
    "enter": {"data": None, "line": None},
    "call": {"map": None, "args": None},
}


def refused(op: str, body: dict[str, Any]) -> Any:
    with pytest.raises(BadField) as caught:
        check(op, body)
    return caught.value.facts["field"]


def beside(op: str, name: str) -> dict[str, Any]:
    """Give the smallest body without `name` and its alternatives."""
    gone = {name, *(CLIENT[op].one_of if name in CLIENT[op].one_of else ())}
    return {key: value for key, value in SMALLEST[op].items() if key not in gone}


@pytest.mark.parametrize("op", CLIENT)
def test_the_smallest_body_passes_and_gets_its_defaults(op: str) -> None:
    body = dict(SMALLEST[op])
    assert check(op, body) == {**SMALLEST[op], **DEFAULTS.get(op, {})}
    assert body == SMALLEST[op]


@pytest.mark.parametrize("op", CLIENT)
def test_fields_the_op_does_not_have_are_ignored(op: str) -> None:
    assert check(op, {**SMALLEST[op], "more": UNDECODABLE}) == check(op, SMALLEST[op])


@pytest.mark.parametrize(("op", "name"), [(op, name) for op in CLIENT for name in SMALLEST[op]])
def test_a_missing_field_is_named(op: str, name: str) -> None:
    assert refused(op, {k: v for k, v in SMALLEST[op].items() if k != name}) == name


FIELDS = [(op, field.name) for op in CLIENT for field in CLIENT[op].fields]


@pytest.mark.parametrize(("op", "name"), FIELDS)
def test_a_value_of_a_wrong_type_in_any_field_is_named(op: str, name: str) -> None:
    wrongs: list[Any] = [UNDECODABLE, None, 1.5, b"bin", [[]]]
    if name in ("data", "args"):
        wrongs = [UNDECODABLE, float("nan"), {1: 2}]
    for wrong in wrongs:
        assert refused(op, {**beside(op, name), name: wrong}) == name


CHOICES: dict[str, dict[str, Any]] = {
    "hello": {"token": "t", "resume": "r"},
    "presence": {"room": "plaza/lobby", "users": ["a"]},
    "profile": {"set": {"name": "Ann"}, "users": ["a"]},
    "call": {"room": "plaza/lobby", "map": "arena"},
}


@pytest.mark.parametrize("op", [op for op in CLIENT if CLIENT[op].one_of])
def test_of_alternatives_each_passes_alone_and_both_do_not(op: str) -> None:
    first, second = CLIENT[op].one_of
    others = beside(op, first)
    for name, value in CHOICES[op].items():
        assert check(op, {**others, name: value})[name] == value
    assert refused(op, {**others, **CHOICES[op]}) == second
    if CLIENT[op].one_needed:
        assert refused(op, others) == first


OUT_OF_LIMITS: list[tuple[str, dict[str, Any]]] = [
    ("hello", {"v": 2}),
    ("hello", {"token": "t" * 4097}),
    ("join", {"room": "plaza/" + "a" * 10_000}),
    ("history", {"limit": 301}),
    ("history", {"limit": 0}),
    ("presence", {"users": ["a"] * 101}),
    ("watch", {"users": ["a"] * 101}),
    ("send", {"to": ["a"] * 101}),
    ("send", {"to": []}),
    ("send", {"ttl": 2_592_001}),
    ("inbox", {"limit": 101}),
    ("inbox", {"after": -1}),
    ("ack", {"seq": 2**53}),
    ("call", {"method": "m" * 65}),
]


@pytest.mark.parametrize(("op", "body"), OUT_OF_LIMITS)
def test_a_value_out_of_its_limits_is_named(op: str, body: dict[str, Any]) -> None:
    (name,) = body
    assert refused(op, {**beside(op, name), **body}) == name


@pytest.mark.parametrize("op", ["", "nope", "PUBLISH", "message", "__init__"])
def test_an_op_that_is_not_in_the_table_is_unknown(op: str) -> None:
    with pytest.raises(UnknownOp):
        check(op, {})


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(CLIENT)), st.data())
def test_any_body_passes_or_is_a_bad_field(op: str, data: st.DataObject) -> None:
    names = st.sampled_from([field.name for field in CLIENT[op].fields] or ["x"])
    body = data.draw(st.dictionaries(names, JUNK, max_size=4))
    try:
        checked = check(op, {**SMALLEST[op], **body})
    except BadField as error:
        assert error.facts["field"] in body
    else:
        assert set(checked) == {field.name for field in CLIENT[op].fields}


def test_what_passed_can_be_sent_on() -> None:
    body = check("publish", decode(encode("publish", 1, {"room": "a/b", "data": {"é": [b"x"]}})[4:]).body)
    assert decode(encode("x", 0, body)[4:]).body == body
