from __future__ import annotations

import io
import json
from typing import Any

import gevent
import pytest

from center.api.keyring import STALE, Keyring
from common.errors import DeadlineExceeded, Forbidden, RateLimited, Unauthorized, Unavailable
from common.net import log as logs
from common.wire.apikeys import make_key
from tests.center.scene import CALLS, Api, Processes, problem

BODY = {"to": "alice", "data": 1}
SCOPES = {"push", "read", "users", "rooms", "tasks", "layouts"}


@pytest.fixture
def api() -> Api:
    return Api(Processes(deliver=1))


@pytest.mark.parametrize("method, path, body, scope", CALLS.values(), ids=CALLS)
def test_a_key_without_the_scope_is_forbidden_and_reaches_nobody(
    api: Api, method: str, path: str, body: Any, scope: str
):
    key = api.processes.make_key(scopes=",".join(SCOPES - {scope}))
    told = problem(api.send(method, path, body, key=key))
    assert (told["status"], told["code"], told["scope"]) == (403, "forbidden", scope)
    assert api.processes.methods() == []


@pytest.mark.parametrize("method, path, body, scope", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("which", ["no key", "another secret", "unknown id", "revoked", "no key at all"])
def test_no_valid_key_is_unauthorized_and_reaches_nobody(
    api: Api, method: str, path: str, body: Any, scope: str, which: str
):
    good = api.processes.make_key(scopes="admin")
    keys = {
        "no key": "rk_",
        "another secret": good[:-1] + ("0" if good[-1] != "0" else "1"),
        "unknown id": good.replace("rk_0", "rk_f"),
        "revoked": api.processes.make_key(revoked=5),
        "no key at all": "",
    }
    answer = api.send(method, path, body, key=keys[which])
    told = problem(answer)
    assert (told["status"], told["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert api.processes.methods() == []


def test_wrong_secret_unknown_id_and_revoked_read_the_same(api: Api):
    good = api.key
    keys = [good[:-1] + "0", good.replace("rk_0", "rk_f"), api.processes.make_key(revoked=5)]
    assert len({problem(api.post("/v1/push/unicast", BODY, key=key))["detail"] for key in keys}) == 1


@pytest.mark.parametrize("scheme", ["Basic", "Token", ""])
def test_a_key_under_another_scheme_is_no_key(api: Api, scheme: str):
    headers = {"Authorization": f"{scheme} {api.key}".strip()}
    assert api.post("/v1/push/unicast", BODY, key="", headers=headers).status_code == 401


def test_the_product_is_the_keys_own_whatever_is_asked(api: Api):
    api.processes.answers["deliver"] = 1
    api.processes.answers["user_info"] = {"sequence": None, "banned": None}
    api.processes.answers["user"] = {"online": False, "since": 0, "devices": []}
    key = api.processes.make_key(product="q", scopes="push,read")
    api.post("/v1/push/unicast", BODY, key=key)
    assert api.processes.of("deliver")[0].args[0] == ["q/alice"]
    assert api.get("/v1/users/alice", key=key).status_code == 404
    assert api.processes.of("user_info")[0].args == ["q/alice"]


def test_a_body_too_large_is_refused_before_it_is_read(api: Api):
    small = Api(api.processes, center__request_bytes=2_000)
    told = problem(small.post("/v1/push/unicast", {"to": "alice", "data": "x" * 2_000}))
    assert (told["status"], told["code"]) == (413, "bad_packet")
    assert api.processes.methods() == []


BODIES: dict[str, tuple[bytes, str, int]] = {
    "no JSON": (b"{", "application/json", 400),
    "no text": (b"\xff\xfe\xff", "application/json", 400),
    "nested for ever": (b"[" * 200_000, "application/json", 400),
    "not a number": (b'{"to": "alice", "data": 1, "keep": true, "ttl": NaN}', "application/json", 400),
    "UTF-16": ('{"to": "alice", "data": 1}'.encode("utf-16"), "application/json", 400),
    "a byte order mark": (b'\xef\xbb\xbf{"to": "alice", "data": 1}', "application/json", 400),
    "half a surrogate as a field": (b'{"\\ud800": 1}', "application/json", 400),
    "no map": (b"[1]", "application/json", 400),
    "a bare number": (b"5", "application/json", 400),
    "an endless number": (b'{"to": "a", "data": ' + b"9" * 5_000 + b"}", "application/json", 400),
    "infinity": (b'{"to": "alice", "data": Infinity}', "application/json", 400),
    "half a surrogate": (b'{"to": "alice", "data": "\\ud800"}', "application/json", 400),
    "a form": (b"to=alice", "application/x-www-form-urlencoded", 415),
    "JSON called text": (b"{}", "text/plain", 415),
    "nothing": (b"", "application/json", 400),
}


@pytest.mark.parametrize("body, kind, status", BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_json_map_is_refused(api: Api, body: bytes, kind: str, status: int):
    headers = {"Authorization": f"Bearer {api.key}"}
    answer = api.client.post("/v1/push/unicast", data=body, content_type=kind, headers=headers)
    told = problem(answer)
    assert (told["status"], told["code"]) == (status, "bad_field" if "field" in told else "bad_packet")
    json.dumps(told, ensure_ascii=False).encode()
    assert api.processes.methods() == []


@pytest.mark.parametrize("open_, close", [(b"[", b"]"), (b'{"a":', b"}")], ids=["lists", "maps"])
def test_no_depth_of_a_body_is_a_defect(api: Api, open_: bytes, close: bytes):
    headers = {"Authorization": f"Bearer {api.key}"}
    for depth in (*range(30, 100, 7), *range(800, 1_050, 2)):
        body = b'{"to": "alice", "data": ' + open_ * depth + b"1" + close * depth + b"}"
        answer = api.client.post(
            "/v1/push/unicast", data=body, content_type="application/json", headers=headers
        )
        assert answer.status_code == (200 if depth <= 32 else 400), depth


def test_a_body_that_does_not_say_its_size_is_too_large_at_the_same_size(api: Api):
    small = Api(api.processes, center__request_bytes=2_000)
    for size, status in ((1_000, 200), (3_000, 413)):
        body = json.dumps({"to": "alice", "data": "x" * size}).encode()
        answer = small.client.post(
            "/v1/push/unicast",
            input_stream=io.BytesIO(body),
            content_type="application/json",
            headers={"Authorization": f"Bearer {small.key}"},
            environ_overrides={"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"},
        )
        assert answer.status_code == status


class Trickle(io.RawIOBase):
    """A body that does not come."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        gevent.sleep(30)
        return 0


def test_a_body_that_does_not_come_is_not_waited_for(api: Api, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("center.api.body.READ_SECONDS", 0.02)
    answer = api.client.post(
        "/v1/push/unicast",
        content_type="application/json",
        headers={"Authorization": f"Bearer {api.key}"},
        environ_overrides={"wsgi.input": io.BufferedReader(Trickle()), "CONTENT_LENGTH": "100"},
    )
    told = problem(answer)
    assert (told["status"], told["code"]) == (408, "timeout")
    assert api.processes.methods() == []


def test_too_many_requests_of_one_key_wait_and_other_keys_do_not(api: Api):
    few = Api(api.processes, center__requests_per_second=1)
    api.processes.answers["stats"] = {"users": 1, "devices": 2}
    codes = [few.get("/v1/stats").status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    answer = few.get("/v1/stats")
    told = problem(answer)
    assert told["code"] == "rate_limited" and 0 < told["after"] <= 1000
    assert answer.headers["Retry-After"] == "1"
    assert few.get("/v1/stats", key=api.processes.make_key()).status_code == 200


def test_what_was_done_is_a_line_of_log_without_the_message(api: Api):
    lines = io.StringIO()
    logs.setup("info", "center-0", lines)
    told = Processes(deliver=1)
    talking = Api(told)
    logs.setup("info", "center-0", lines)
    talking.door.audit._log = logs.get()
    talking.post("/v1/push/unicast", {"to": "alice", "data": "secret"})
    [line] = lines.getvalue().splitlines()
    assert "kind=unicast" in line and "product=p" in line and "alice" in line
    assert "secret" not in line and talking.key not in line


class Book:
    """Keys in storage that may be away."""

    def __init__(self) -> None:
        self.processes = Processes()
        self.text = self.processes.make_key(scopes="push")
        self.number = self.text.split("_")[1]
        self.error: Exception | None = None
        self.asked = 0

    def find(self, number: str) -> dict[str, Any] | None:
        self.asked += 1
        if self.error:
            raise self.error
        return self.processes.keys.get(number)


@pytest.fixture
def book() -> Book:
    return Book()


def test_a_key_is_read_again_once_it_is_no_longer_fresh(book: Book):
    now = [0.0]
    ring = Keyring(book.find, 5.0, 1_000, lambda: now[0])
    assert ring.admit(book.text, "push") == (book.number, "p", ("push",))
    book.processes.keys[book.number]["revoked"] = 1
    book.processes.keys[book.number] = dict(book.processes.keys[book.number])
    now[0] = 4.9
    assert book.asked == 1
    now[0] = 5.0
    with pytest.raises(Unauthorized):
        ring.admit(book.text, "push")
    assert book.asked == 2


@pytest.mark.parametrize("error", [Unavailable("away"), DeadlineExceeded("slow")], ids=["away", "slow"])
def test_while_storage_is_away_a_key_seen_lately_goes_on_working(book: Book, error: Exception):
    now = [0.0]
    ring = Keyring(book.find, 5.0, 1_000, lambda: now[0])
    ring.admit(book.text, "push")
    book.error = error
    now[0] = STALE - 1
    ring.admit(book.text, "push")
    with pytest.raises(Forbidden):
        ring.admit(book.text, "read")
    with pytest.raises(Unauthorized):
        ring.admit(book.text[:-1] + "0", "push")
    now[0] = STALE
    with pytest.raises(type(error)):
        ring.admit(book.text, "push")


def test_guessing_pushes_no_key_out_of_memory(book: Book, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("center.api.keyring.KNOWN", 10)
    ring = Keyring(book.find, 5.0, 1_000, lambda: 0.0)
    ring.admit(book.text, "push")
    for number in range(30):
        with pytest.raises(Unauthorized):
            ring.admit(make_key(number.to_bytes(8), b"g" * 32).text, "push")
    book.error = Unavailable("away")
    ring.admit(book.text, "push")


def test_a_key_storage_no_longer_has_is_forgotten(book: Book):
    now = [0.0]
    ring = Keyring(book.find, 5.0, 1_000, lambda: now[0])
    ring.admit(book.text, "push")
    key = book.processes.keys.pop(book.number)
    now[0] = 6.0
    with pytest.raises(Unauthorized):
        ring.admit(book.text, "push")
    book.error = Unavailable("away")
    now[0] = 12.0
    with pytest.raises(Unavailable):
        ring.admit(book.text, "push")
    book.error, book.processes.keys[book.number] = None, key
    ring.admit(book.text, "push")


def test_an_unknown_key_is_not_asked_for_again_at_once(book: Book):
    ring = Keyring(book.find, 5.0, 1_000, lambda: 0.0)
    for _ in range(3):
        with pytest.raises(Unauthorized):
            ring.admit(book.text.replace("rk_0", "rk_f"), "push")
    assert book.asked == 1


def test_the_rate_counts_per_key(book: Book):
    now = [0.0]
    ring = Keyring(book.find, 5.0, 1, lambda: now[0])
    other = book.processes.make_key(scopes="push")
    for _ in range(2):
        ring.admit(book.text, "push")
    with pytest.raises(RateLimited) as caught:
        ring.admit(book.text, "push")
    ring.admit(other, "push")
    now[0] += caught.value.facts["after"] / 1000
    ring.admit(book.text, "push")
