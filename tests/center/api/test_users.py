from __future__ import annotations

from typing import Any

import pytest

from common.errors import Unavailable
from common.places import Places
from tests.center.scene import NOW_MS, Api, Processes, problem, settings_of

PLACES = Places(settings_of())
SESSION = PLACES.session_of("p/alice")
KEPT = {"acked": 5, "backed": 7, "seen": 9, "tags": ["old"], "begin": 0}
STORED = {
    "sequence": 3,
    "seen": 99,
    "online": 12.5,
    "depth": 2,
    "bytes": 30,
    "dropped": 1,
    "seq": 8,
    "devices": {"phone": KEPT, "web": KEPT},
    "banned": 0,
}
PRESENT = {
    "online": True,
    "since": 50,
    "devices": [
        {"device": "web", "kind": "web", "epoch": 1, "gateway": "gateway-1", "conn": 4, "tags": ["vip"]},
        {"device": "tv", "kind": "tv", "epoch": 2, "gateway": "gateway-0", "conn": 5},
    ],
}


@pytest.fixture
def processes() -> Processes:
    return Processes(user_info=STORED, user=PRESENT, user_add=3)


@pytest.fixture
def api(processes: Processes) -> Api:
    return Api(processes)


def test_a_user_is_what_presence_and_storage_know_together(api: Api):
    told = api.get("/v1/users/alice").get_json()
    devices = {row["device"]: row for row in told.pop("devices")}
    assert told == {
        "uid": "alice",
        "online": True,
        "since": 50,
        "mailbox": {"depth": 2, "bytes": 30, "dropped": 1, "seq": 8},
        "online_seconds": 12.5,
        "seen": 99,
        "sequence": 3,
        "banned": 0,
    }
    assert list(devices) == ["phone", "tv", "web"]
    away = {"kind": None, "gateway": None, "seq": 5, "bseq": 7, "seen": 9, "tags": ["old"]}
    new: dict[str, Any] = {
        "kind": "tv",
        "gateway": "gateway-0",
        "seq": None,
        "bseq": None,
        "seen": None,
        "tags": [],
    }
    assert devices["phone"] == {"device": "phone", **away}
    assert devices["tv"] == {"device": "tv", **new}
    assert (devices["web"]["kind"], devices["web"]["seq"], devices["web"]["tags"]) == ("web", 5, ["vip"])


def test_a_user_nobody_knows_is_not_found_and_one_whose_presence_is_unknown_is_null(
    api: Api, processes: Processes
):
    processes.answers["user"] = {"online": None, "since": 0, "devices": []}
    assert api.get("/v1/users/alice").get_json()["online"] is None
    processes.answers["user_info"] = {**STORED, "sequence": None, "banned": None}
    assert problem(api.get("/v1/users/alice"))["uid"] == "alice"


@pytest.mark.parametrize(
    "known", [{"user": PRESENT}, {"user_info": {**STORED, "sequence": None, "banned": 0}}]
)
def test_a_user_who_came_just_now_or_is_banned_is_known_without_a_sequence(
    api: Api, processes: Processes, known: dict[str, Any]
):
    processes.answers["user_info"] = {**STORED, "sequence": None, "banned": None}
    processes.answers["user"] = {"online": False, "since": 0, "devices": []}
    processes.answers.update(known)
    assert api.get("/v1/users/alice").get_json()["sequence"] is None


def test_a_user_who_was_never_here_has_no_times(api: Api, processes: Processes):
    processes.answers["user_info"] = {**STORED, "seen": 0}
    processes.answers["user"] = {"online": False, "since": 0, "devices": []}
    told = api.get("/v1/users/alice").get_json()
    assert (told["online"], told["since"], told["seen"]) == (False, None, None)


def test_put_makes_a_user(api: Api, processes: Processes):
    assert api.put("/v1/users/alice").get_json()["sequence"] == 3
    assert processes.of("user_add")[0].args == ["p/alice"]


DONE: dict[str, tuple[str, str, Any, list[tuple[str, list[Any]]], Any]] = {
    "kick all": (
        "POST",
        "kick",
        {},
        [("kick", ["p/alice", None, "policy", "kicked by the application"])],
        {"connections": 2},
    ),
    "kick one, to come back": (
        "POST",
        "kick",
        {"device": "web", "reason": "moved", "reconnect": True},
        [("kick", ["p/alice", "web", "restart", "moved"])],
        {"connections": 2},
    ),
    "ban for good": ("POST", "ban", {}, [("ban", ["p/alice", 0]), ("ban", ["p/alice", 0])], {"banned": 0}),
    "ban for a time": (
        "POST",
        "ban",
        {"seconds": 60},
        [("ban", ["p/alice", NOW_MS + 60_000])] * 2,
        {"banned": NOW_MS + 60_000},
    ),
    "ban until": (
        "POST",
        "ban",
        {"until": NOW_MS + 1},
        [("ban", ["p/alice", NOW_MS + 1])] * 2,
        {"banned": NOW_MS + 1},
    ),
    "ban for less than a moment": (
        "POST",
        "ban",
        {"seconds": 1e-9},
        [("ban", ["p/alice", NOW_MS + 1])] * 2,
        {"banned": NOW_MS + 1},
    ),
    "unban": ("POST", "unban", None, [("unban", ["p/alice"])] * 2, {"banned": None}),
    "join": (
        "POST",
        "join",
        {"room": "plaza/a"},
        [("assign", ["p/alice", "p/plaza/a", True])],
        {"connections": 2},
    ),
    "leave": (
        "POST",
        "leave",
        {"room": "plaza/a"},
        [("assign", ["p/alice", "p/plaza/a", False])],
        {"connections": 2},
    ),
}


@pytest.mark.parametrize("method, what, body, calls, answer", DONE.values(), ids=DONE)
def test_what_is_done_to_a_user_is_done_by_the_owners(
    api: Api, processes: Processes, method: str, what: str, body: Any, calls: Any, answer: Any
):
    processes.answers.update(kick=2, ban=2, unban=True, assign=2, tags=2)
    told = api.send(method, f"/v1/users/alice/{what}", body)
    assert (told.status_code, told.get_json()) == (200, answer)
    made = [call for call in processes.calls if call.method != "apikey_get"]
    assert [(call.method, call.args) for call in made] == calls
    assert made[-1].peer == SESSION
    if len(made) == 2:
        assert made[0].peer in PLACES.dbservers


def test_a_ban_that_was_stored_but_not_told_is_unavailable(api: Api, processes: Processes):
    processes.answers[f"{SESSION} ban"] = Unavailable("away")
    processes.answers["ban"] = None
    assert problem(api.post("/v1/users/alice/ban"))["status"] == 503


def test_tags_are_stored_for_a_device_before_its_connection_gets_them(api: Api, processes: Processes):
    processes.answers.update(device_mark=None, tags=True)
    told = api.put("/v1/users/alice/tags", {"tags": ["vip", "eu"], "device": "phone"})
    assert told.get_json() == {"connections": 1}
    assert processes.methods()[-2:] == ["device_mark", "tags"]
    assert processes.of("device_mark")[0].args == [[["p/alice", "phone", ["vip", "eu"], None]]]
    [call] = processes.of("tags")
    assert (call.peer, call.args) == (SESSION, ["p/alice", "phone", ["vip", "eu"]])


def test_tags_without_a_device_are_for_all_there_are(api: Api, processes: Processes):
    processes.answers.update(device_mark=None, tags=lambda peer, user, device, tags: device != "phone")
    assert api.put("/v1/users/alice/tags", {"tags": []}).get_json() == {"connections": 2}
    assert [call.args[1] for call in processes.of("tags")] == ["phone", "tv", "web"]
    assert len(processes.of("device_mark")[0].args[0]) == 3


def test_a_device_nobody_knows_gets_no_tags(api: Api, processes: Processes):
    told = problem(api.put("/v1/users/alice/tags", {"tags": ["vip"], "device": "fridge"}))
    assert (told["status"], told["device"]) == (404, "fridge")
    assert processes.of("device_mark") == []


WRONG: dict[str, tuple[str, str, Any, str]] = {
    "uid that is no name": ("GET", "/v1/users/a%20b", None, "uid"),
    "uid too long": ("GET", f"/v1/users/{'a' * 65}", None, "uid"),
    "tags left out": ("PUT", "/v1/users/alice/tags", {}, "tags"),
    "too many tags": ("PUT", "/v1/users/alice/tags", {"tags": [f"t{n}" for n in range(17)]}, "tags"),
    "tag that is no name": ("PUT", "/v1/users/alice/tags", {"tags": ["a b"]}, "tags.0"),
    "device that is no name": ("POST", "/v1/users/alice/kick", {"device": ""}, "device"),
    "reason too long": ("POST", "/v1/users/alice/kick", {"reason": "x" * 201}, "reason"),
    "ban twice over": ("POST", "/v1/users/alice/ban", {"seconds": 1, "until": 5}, "until"),
    "ban for no time": ("POST", "/v1/users/alice/ban", {"seconds": 0}, "seconds"),
    "ban for ever and a day": ("POST", "/v1/users/alice/ban", {"seconds": 1e300}, "seconds"),
    "ban until a float": ("POST", "/v1/users/alice/ban", {"until": 1.5}, "until"),
    "ban until before now": ("POST", "/v1/users/alice/ban", {"until": NOW_MS}, "until"),
    "no room": ("POST", "/v1/users/alice/join", {}, "room"),
    "room of no map": ("POST", "/v1/users/alice/join", {"room": "nowhere/a"}, "room"),
    "rooms: no number": ("GET", "/v1/rooms?limit=x", None, "limit"),
    "rooms: too many": ("GET", "/v1/rooms?limit=1001", None, "limit"),
    "rooms: after no room": ("GET", "/v1/rooms?after=x", None, "after"),
    "room: too many messages": ("GET", "/v1/rooms/plaza/a?limit=301", None, "limit"),
    "room: after nothing": ("GET", "/v1/rooms/plaza/a?after=-1", None, "after"),
    "room: no name": ("GET", "/v1/rooms/plaza/a%20b", None, "room"),
    "message: too many": ("GET", "/v1/messages/5?limit=201", None, "limit"),
    "message: no uid": ("GET", "/v1/messages/5?uid=a%20b", None, "uid"),
    "dispatch: nobody": ("GET", "/v1/dispatch", None, "uid"),
}


@pytest.mark.parametrize("method, path, body, field", WRONG.values(), ids=WRONG)
def test_a_wrong_field_is_named_and_nobody_asked(
    api: Api, processes: Processes, method: str, path: str, body: Any, field: str
):
    assert problem(api.send(method, path, body))["field"] == field
    assert processes.methods() == []


def test_rooms_of_all_worlds_are_one_list_page_by_page(api: Api, processes: Processes):
    names = {"world-0": ["a", "c", "e"], "world-1": ["b", "d"]}

    def rooms(peer: str, product: str, after: str, limit: int) -> list[list[Any]]:
        found = [f"{product}/plaza/{name}" for name in names.get(peer, [])]
        return [[room, 2, 9] for room in found if room > after][:limit]

    processes.answers["rooms"] = rooms
    pages, after = [], ""
    while after is not None:
        page = api.get(f"/v1/rooms?limit=2{after and f'&after={after}'}").get_json()
        pages.append([row["room"] for row in page["rooms"]])
        after = page["after"]
    assert [room for page in pages for room in page] == [f"plaza/{name}" for name in "abcde"]
    assert all(len(page) <= 2 for page in pages)
    assert page["rooms"][0] == {"room": "plaza/e", "count": 2, "offset": 9}


def test_a_world_that_is_away_makes_the_list_unavailable_not_short(api: Api, processes: Processes):
    processes.answers.update({"rooms": [], "world-1 rooms": Unavailable("away")})
    told = problem(api.get("/v1/rooms"))
    assert told["status"] == 503 and "world-1" in told["detail"]


MEMBER = ["bob", [["tv", "web"]], 60]


def test_a_room_is_shown_with_members_and_history_bin_as_json(api: Api, processes: Processes):
    messages = [[8, "", b"\xc4\x01\xff", 70], [9, "bob", b"\xa2hi", 71]]
    told = {"epoch": 4, "offset": 9, "first": 7, "count": 2, "users": [MEMBER], "more": False}
    processes.answers["room"] = {**told, "messages": messages}
    assert api.get("/v1/rooms/plaza/a").get_json() == {
        "room": "plaza/a",
        "epoch": 4,
        "offset": 9,
        "first": 7,
        "more": False,
        "count": 2,
        "users": [{"uid": "bob", "devices": [{"device": "tv", "kind": "web"}], "since": 60}],
        "messages": [
            {"offset": 8, "uid": "", "data": {"$bin": "/w=="}, "time": 70},
            {"offset": 9, "uid": "bob", "data": "hi", "time": 71},
        ],
    }
    [call] = processes.of("room")
    assert (call.peer, call.args) == (PLACES.world_of("p/plaza/a"), ["p/plaza/a", 50, None])
    api.get("/v1/rooms/plaza/a?after=7&limit=300")
    assert processes.of("room")[1].args == ["p/plaza/a", 300, 7]


def test_stats_are_the_sum_of_all_sessions(api: Api, processes: Processes):
    processes.answers["stats"] = {"users": 2, "devices": 3}
    assert api.get("/v1/stats").get_json() == {"users": 4, "devices": 6}


HEAD = {"product": "p", "sender": "", "time": 1, "expires": 2, "bseq": 0, "acked": 0, "written": 0}


def test_the_ledger_of_a_message_goes_receiver_by_receiver(api: Api, processes: Processes):
    rows = [["alice", 7, "", [["web", "dropped", "trimmed"]]], ["bob", 9, "stored", []]]
    processes.answers["ledger"] = [HEAD, rows, "bob"]
    assert api.get("/v1/messages/5?after=aaa&limit=2").get_json() == {
        "mid": 5,
        "sender": "",
        "time": 1,
        "expires": 2,
        "bseq": None,
        "acked": None,
        "written": None,
        "receivers": [
            {
                "uid": "alice",
                "seq": 7,
                "state": "",
                "devices": [{"device": "web", "state": "dropped", "why": "trimmed"}],
            },
            {"uid": "bob", "seq": 9, "state": "stored", "devices": []},
        ],
        "after": "bob",
    }
    assert processes.of("ledger")[0].args == ["p", 5, "aaa", 2, None]


def test_the_ledger_of_a_broadcast_counts_and_tells_of_one_user(api: Api, processes: Processes):
    processes.answers["ledger"] = [{**HEAD, "bseq": 9, "acked": 3, "written": 4}, [], None]
    told = api.get("/v1/messages/5?uid=alice").get_json()
    assert (told["bseq"], told["acked"], told["written"], told["after"]) == (9, 3, 4, None)
    assert processes.of("ledger")[0].args[4] == "p/alice"


def test_a_mid_beyond_all_ids_is_not_found(api: Api, processes: Processes):
    assert problem(api.get(f"/v1/messages/{2**70}"))["status"] == 404
    assert processes.of("ledger") == []
