from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError, Unauthorized
from common.wire.tokens import (
    ACTIONS,
    RESUME_BYTES,
    SCOPES,
    Claims,
    Resume,
    check_keys,
    issue_resume,
    read_resume,
    verify_token,
)
from tests.tokens import sign_token

NOW = 1_700_000_000.0
EXP = 1_700_000_600
SECRET = b"s" * 32


@dataclass(frozen=True)
class Key:
    kid: str
    algorithm: str
    key: str


def _pair(kid: str, algorithm: str, private: Any) -> tuple[Key, Key]:
    """Give (signing key, verifying key)."""
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return Key(kid, algorithm, secret.decode()), Key(kid, algorithm, public.decode())


HS = Key("", "HS256", "h" * 32)
HS_NAMED = Key("named", "HS256", "n" * 32)
RS_PRIVATE, RS = _pair("rsa", "RS256", rsa.generate_private_key(65537, 2048))
ED_PRIVATE, ED = _pair("ed", "EdDSA", ed25519.Ed25519PrivateKey.generate())
EC_PRIVATE, _ = _pair("", "ES256", ec.generate_private_key(ec.SECP256R1()))
KEYS = (HS, HS_NAMED, RS, ED)


def token(**claims: Any) -> str:
    """Sign with HS whatever the claims are; a claim of ... is left out."""
    payload = {"sub": "alice", "product": "game", "exp": EXP, **claims}
    return jwt.encode({k: v for k, v in payload.items() if v is not ...}, HS.key, "HS256")


def raw(header: bytes, payload: bytes = b"{}", signature: bytes = b"x") -> str:
    return b".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload, signature)
    ).decode()


@pytest.mark.parametrize(
    "key", [HS, HS_NAMED, RS_PRIVATE, ED_PRIVATE], ids=["HS256", "kid", "RS256", "EdDSA"]
)
def test_a_signed_token_is_verified_with_the_key_its_kid_names(key: Key) -> None:
    claims = verify_token(sign_token("alice", "game", EXP, key), KEYS, NOW)
    assert claims == Claims("alice", "game", EXP)
    assert claims.user == "game/alice"


def test_all_claims_are_read() -> None:
    text = sign_token(
        "alice",
        "game",
        EXP,
        HS,
        rooms={"plaza/*": ["publish", "join"], "arena/1": []},
        scopes=["watch", "send", "send"],
        tags=["blue", "vip"],
    )
    assert verify_token(text, KEYS, NOW) == Claims(
        "alice",
        "game",
        EXP,
        rooms=(("plaza/*", ("join", "publish")), ("arena/1", ())),
        scopes=("send", "watch"),
        tags=("blue", "vip"),
    )


def test_rights_that_list_nothing_are_not_the_default() -> None:
    claims = verify_token(sign_token("alice", "game", EXP, HS, rooms={}, scopes=[]), KEYS, NOW)
    assert claims.rooms == ()
    assert claims.scopes == ()


def test_two_keys_of_one_kid_are_both_tried() -> None:
    old = replace(HS, key="o" * 32)
    text = sign_token("alice", "game", EXP, HS)
    assert verify_token(text, (old, HS), NOW).uid == "alice"
    with pytest.raises(Unauthorized, match="[Ss]ignature"):
        verify_token(text, (old,), NOW)


@pytest.mark.parametrize("late", [-1.0, 0.0, 59.9])
def test_a_token_holds_until_60_seconds_after_its_end(late: float) -> None:
    assert verify_token(token(), KEYS, EXP + late).exp == EXP


@pytest.mark.parametrize("late", [60.0, 1e9])
def test_then_it_is_expired(late: float) -> None:
    with pytest.raises(Unauthorized, match="expired"):
        verify_token(token(), KEYS, EXP + late)


def test_a_time_with_a_fraction_is_a_time() -> None:
    assert verify_token(token(exp=EXP + 0.5), KEYS, NOW).exp == EXP


def test_a_token_for_later_is_valid_60_seconds_before() -> None:
    assert verify_token(token(nbf=NOW + 60), KEYS, NOW).uid == "alice"
    with pytest.raises(Unauthorized, match="not valid yet"):
        verify_token(token(nbf=NOW + 61), KEYS, NOW)


def test_claims_we_do_not_know_are_ignored() -> None:
    text = token(aud="other", iss="x", iat="never", jti=5, future=[1])
    assert verify_token(text, KEYS, NOW).uid == "alice"


BAD_TOKENS: dict[str, tuple[str, str]] = {
    "empty": ("", "no JWT"),
    "random": ("abc.def.ghi", "no JWT"),
    "two parts": (token().rpartition(".")[0], "no JWT"),
    "four parts": (token() + ".AAAA", "no JWT"),
    "no base64 behind the header": (token().partition(".")[0] + ".!.!", "no JWT"),
    "header is no map": (raw(b"[]"), "no JWT"),
    "header is deep": (raw(b"[" * 2900), "no JWT"),
    "header is not UTF-8": (raw(b"\xff\xff"), "no JWT"),
    "lone surrogate": ("\ud800.a.b", "no JWT"),
    "kid is a number": (raw(b'{"alg":"HS256","kid":5}'), "no JWT"),
    "a critical extension": (raw(b'{"alg":"HS256","crit":["b64"],"b64":true}'), "extension"),
    "an unencoded payload": (raw(b'{"alg":"HS256","b64":false}'), "extension"),
    "no algorithm": (raw(b"{}"), "algorithm is none of"),
    "algorithm none": (raw(b'{"alg":"none"}', b'{"sub":"alice"}', b""), "algorithm is none of"),
    "algorithm NONE": (raw(b'{"alg":"NONE"}'), "algorithm is none of"),
    "algorithm is a map": (raw(b'{"alg":{}}'), "algorithm is none of"),
    "algorithm not ours": (jwt.encode({}, "h" * 48, "HS384"), "algorithm is none of"),
    "elliptic": (jwt.encode({}, EC_PRIVATE.key, "ES256"), "algorithm is none of"),
    "unknown kid": (sign_token("alice", "game", EXP, replace(HS, kid="other")), "no key has"),
    "algorithm of another key": (
        sign_token("alice", "game", EXP, replace(HS, kid="rsa")),
        "not that of its key",
    ),
    "forged": (sign_token("alice", "game", EXP, replace(HS, key="f" * 32)), "not valid"),
    "changed": (token()[:-4] + "AAAA", "not valid"),
    "payload is no map": (jwt.PyJWS().encode(b"[]", HS.key, "HS256"), "not valid"),
    "payload is deep": (jwt.PyJWS().encode(b"[" * 2900, HS.key, "HS256"), "not valid"),
    "no sub": (token(sub=...), "sub is missing"),
    "sub is a number": (token(sub=5), "sub is missing or no name"),
    "sub is no name": (token(sub="a/b"), "sub is missing or no name"),
    "no product": (token(product=...), "product is missing"),
    "product is no name": (token(product="a b"), "product is missing or no name"),
    "no exp": (token(exp=...), "exp is missing"),
    "exp is a string": (token(exp="9999999999"), "exp is missing or no time"),
    "exp is true": (token(exp=True), "exp is missing or no time"),
    "exp is NaN": (token(exp=float("nan")), "exp is missing or no time"),
    "exp is infinite": (token(exp=float("inf")), "exp is missing or no time"),
    "exp is beyond ms in 53 bits": (token(exp=2**53), "exp is missing or no time"),
    "exp is negative": (token(exp=-1), "exp is missing or no time"),
    "nbf is a string": (token(nbf="now"), "nbf is missing or no time"),
    "rooms is a list": (token(rooms=["plaza/*"]), "rooms"),
    "rooms is null": (token(rooms=None), "rooms"),
    "room pattern with a space": (token(rooms={"a b": ["join"]}), "rooms"),
    "room pattern is empty": (token(rooms={"": ["join"]}), "rooms"),
    "room pattern is too long": (token(rooms={"a" * 130: ["join"]}), "rooms"),
    "unknown action": (token(rooms={"*": ["join", "fly"]}), "join, publish, history, presence"),
    "actions are a string": (token(rooms={"*": "join"}), "rooms may list only"),
    "scopes is a string": (token(scopes="send"), "scopes may list only"),
    "unknown scope": (token(scopes=[["send"]]), "send, watch, profile, enter"),
    "tags is a map": (token(tags={}), "tags"),
    "tag is no name": (token(tags=["a b"]), "tags"),
    "17 tags": (token(tags=list("abcdefghijklmnopq")), "tags"),
    "more than 256 bytes": (token(tags=["a" * 64] * 4), "256 bytes"),
    "deep rooms": (token(rooms={"*": [[[[[]]]]]}), "rooms"),
}


@pytest.mark.parametrize(("text", "says"), BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_a_bad_token_is_unauthorized_and_the_message_says_why(text: str, says: str) -> None:
    with pytest.raises(Unauthorized, match=says):
        verify_token(text, KEYS, NOW)


def test_a_public_key_is_never_taken_for_a_shared_secret() -> None:
    forged = jwt.PyJWS().encode(b"{}", b"x" * 32, "HS256", headers={"kid": "rsa"})
    for key in (RS, replace(RS, algorithm="HS256")):
        with pytest.raises(Unauthorized):
            verify_token(forged, (key,), NOW)


def test_a_token_without_kid_needs_a_key_without_one() -> None:
    with pytest.raises(Unauthorized, match="no kid"):
        verify_token(token(), (HS_NAMED,), NOW)


@given(st.text(max_size=50))
def test_whatever_text_comes_is_unauthorized(text: str) -> None:
    with pytest.raises(Unauthorized):
        verify_token(text, KEYS, NOW)


def test_rights_of_256_bytes_pass() -> None:
    tags = ["a" * 64, "b" * 64, "c" * 64]
    spent = len(json.dumps({"tags": [*tags, ""]}, separators=(",", ":")))
    text = token(tags=[*tags, "d" * (256 - spent)])
    assert len(verify_token(text, KEYS, NOW).tags) == 4
    with pytest.raises(Unauthorized, match="256"):
        verify_token(token(tags=[*tags, "d" * (257 - spent)]), KEYS, NOW)


def test_usable_keys_pass_the_check() -> None:
    check_keys(KEYS)


BAD_KEYS = {
    "short secret": (Key("a", "HS256", "short"), "shorter than 32"),
    "public key as secret": (replace(RS, algorithm="HS256"), "auth.keys"),
    "no PEM": (Key("a", "RS256", "nonsense"), "auth.keys"),
    "other algorithm": (Key("a", "none!", "x"), "auth.keys"),
    "empty EdDSA": (Key("a", "EdDSA", ""), "auth.keys"),
    "RSA key for EdDSA": (replace(RS, algorithm="EdDSA"), "auth.keys"),
}


@pytest.mark.parametrize(("key", "says"), BAD_KEYS.values(), ids=BAD_KEYS.keys())
def test_a_key_that_cannot_verify_is_named_before_anything_starts(key: Key, says: str) -> None:
    with pytest.raises(ConfigError, match=r"auth\.keys\[1\]") as caught:
        check_keys((HS, key))
    assert says in str(caught.value)


NAMES = st.text("AZaz09._-:@", min_size=1, max_size=64)
PATTERNS = st.text("az*/.:", min_size=1, max_size=9)
ROOMS = st.lists(st.tuples(PATTERNS, st.just(("join", "history"))), max_size=3).map(tuple)
RESUMES = st.builds(
    Resume,
    user=st.builds(lambda product, uid: f"{product}/{uid}", NAMES, NAMES),
    device=NAMES,
    kind=st.just("") | NAMES,
    epoch=st.integers(0, 2**53 - 1),
    exp=st.integers(int(NOW) + 1, 2**43),
    rooms=st.none() | ROOMS,
    scopes=st.none() | st.sampled_from([(), ("send",), ("watch", "enter"), SCOPES]),
    tags=st.lists(NAMES.filter(lambda name: len(name) < 20), max_size=5).map(tuple),
)
RESUME = Resume("game/alice", "phone-1", "phone", 1_700_000_000_000_000, EXP)


@given(RESUMES)
def test_a_resume_token_gives_back_what_it_was_issued_for(resume: Resume) -> None:
    text = issue_resume(SECRET, resume)
    assert len(text) <= RESUME_BYTES
    assert read_resume(SECRET, text, resume.device, NOW) == resume


def test_a_resume_stands_for_the_claims_of_its_token() -> None:
    resume = RESUME._replace(rooms=(("*", ACTIONS),), scopes=("send",), tags=("vip",))
    assert resume.claims == Claims("alice", "game", EXP, (("*", ACTIONS),), ("send",), ("vip",))


LARGEST: dict[str, dict[str, Any]] = {
    "tags": {"tags": ["a" * 64, "b" * 64, "c" * 64, "d" * 42]},
    "many tags": {"tags": ["abcdefghijkl"] * 16},
    "patterns": {"rooms": {"a" * 128 + "*": [], "b" * 104: []}},
    "one letter patterns": {"rooms": {letter: [] for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefgh"}},
}


@pytest.mark.parametrize("rights", LARGEST.values(), ids=LARGEST.keys())
def test_the_longest_names_and_rights_fit_into_512_bytes(rights: dict[str, Any]) -> None:
    claims = verify_token(token(sub="u" * 64, product="p" * 64, exp=9_007_199_254_740, **rights), KEYS, NOW)
    resume = Resume(
        claims.user,
        "d" * 64,
        "k" * 64,
        2**53 - 1,
        claims.exp,
        claims.rooms,
        claims.scopes,
        claims.tags,
    )
    text = issue_resume(SECRET, resume)
    assert len(text) <= RESUME_BYTES
    assert read_resume(SECRET, text, "d" * 64, NOW) == resume


def test_a_resume_token_ends_with_its_token() -> None:
    text = issue_resume(SECRET, RESUME)
    assert read_resume(SECRET, text, "phone-1", EXP - 0.1) == RESUME
    with pytest.raises(Unauthorized, match="expired"):
        read_resume(SECRET, text, "phone-1", float(EXP))


def test_a_resume_token_is_worth_nothing_elsewhere() -> None:
    text = issue_resume(SECRET, RESUME)
    with pytest.raises(Unauthorized):
        read_resume(SECRET, text, "phone-2", NOW)
    with pytest.raises(Unauthorized):
        read_resume(b"t" * 32, text, "phone-1", NOW)


def test_no_character_of_a_resume_token_can_be_changed() -> None:
    text = issue_resume(SECRET, RESUME)
    for place, letter in enumerate(text):
        changed = text[:place] + ("B" if letter != "B" else "C") + text[place + 1 :]
        with pytest.raises(Unauthorized):
            read_resume(SECRET, changed, "phone-1", NOW)


@pytest.mark.parametrize(
    "text", ["", "|", "abc", "a" * 5000, "é", "\ud800", issue_resume(SECRET, RESUME)[:-1]]
)
def test_what_is_no_resume_token_is_unauthorized(text: str) -> None:
    with pytest.raises(Unauthorized):
        read_resume(SECRET, text, "phone-1", NOW)
