from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st

from common.errors import DeadlineExceeded, Unavailable
from common.net import log as logs
from common.net.metrics import Metrics
from common.net.store import Store
from common.net.tasks import Tasks
from common.places import Places
from common.rules.room import MASK, REPLY_MESSAGES, weight
from common.settings import RoomRule, Settings
from common.settings import World as WorldSettings
from servers.world import LINK, World
from tests.common.net.hall.durable import RealDbservers, raising, until
from tests.common.net.hall.recording import Clock, RecordingLinks

LOBBY, KEEP = "demo/plaza/lobby", "demo/plaza/keep.1"
ONE, TWO = "gateway-0", "gateway-1"


class Scene:
    """A world process driven by link items; a store makes durable rooms work."""

    def __init__(self, store: Store | None = None, **world: Any) -> None:
        settings = Settings(world=WorldSettings(**world))
        self.log = io.StringIO()
        logs.setup("info", "world-0", self.log)
        self.links, self.clock = RecordingLinks(), Clock()
        self.dbservers = RealDbservers(store)  # type: ignore[arg-type]
        self.tasks = Tasks(logs.get())
        self.process = SimpleNamespace(
            name="world-0",
            index=0,
            incarnation="0000000000000002-aa",
            term=1,
            settings=settings,
            places=Places(settings),
            links=self.links,
            callers=SimpleNamespace(call=lambda peer, *call, timeout=None: self.dbservers.call(*call)),
            state_of=lambda name: "ready",
            metrics=Metrics("world-0"),
            log=logs.get(),
            tasks=self.tasks,
            thaw=lambda: None,
        )
        self.world = World(self.process)  # type: ignore[arg-type]
        self.world.book.clock = self.clock
        if store is not None:
            self.tasks.spawn("appender", self.world.appender.run)

    def give(self, gateway: str, kind: str, *rest: Any) -> None:
        """Hand the world an item of a gateway."""
        handler = LINK.get(kind)
        assert handler is not None
        handler(self.world, SimpleNamespace(name=gateway), *rest)

    def ask(self, gateway: str, kind: str, *rest: Any) -> Any:
        """Hand over a request; give the value of its `ok`, or (code, facts) of its `err`."""
        self.give(gateway, kind, 7, *rest)
        (answer,) = [item for name, item in self.links.take() if name == gateway and item[:2] in ANSWERS]
        return answer[2] if answer[0] == "ok" else (answer[2], answer[4])

    def join(
        self,
        gateway: str,
        key: str = LOBBY,
        members: int = 1,
        listening: int = 0,
        since: list[int] | None = None,
    ) -> Any:
        """Join as a client of a gateway does."""
        return self.ask(gateway, "join", key, [members, listening], since, bool(listening))

    def say(self, text: str, gateway: str = ONE, key: str = LOBBY, name: str = "") -> Any:
        return self.ask(gateway, "publish", key, "ann", name, text.encode())

    def announce(self, gateway: str, *rows: list[Any]) -> None:
        self.give(gateway, "announce", list(rows), True, True)

    def count_of(self, key: str = LOBBY) -> int:
        room = self.world.book.rooms.get(key)
        return room.count if room is not None else -1

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and what is done now and then be done once."""
        self.clock.now += seconds
        self.world.catch_up()

    def wait_answer(self) -> list[Any]:
        """Wait for one answer and give it; everything sent before it is forgotten."""
        answers: list[list[Any]] = []

        def there() -> bool:
            answers.extend(item for _, item in self.links.take("ok", "err"))
            return bool(answers)

        until(there)
        return answers[0]


ANSWERS = (["ok", 7], ["err", 7])


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def make_durable(store: Store) -> Iterator[Callable[..., Scene]]:
    """Make worlds over the real Redis; their greenlets end afterwards."""
    scenes: list[Scene] = []

    def make(**world: Any) -> Scene:
        scenes.append(Scene(store, **world))
        return scenes[-1]

    yield make
    for each in scenes:
        each.tasks.stop(1.0)


@pytest.fixture
def durable(make_durable: Callable[..., Scene]) -> Scene:
    return make_durable()


# join and publish


def test_a_join_is_answered_where_the_room_stands_and_what_follows_is_the_next(scene: Scene) -> None:
    scene.join(ONE)
    scene.say("a")
    scene.give(TWO, "join", 8, LOBBY, [1, 0], None, False)
    scene.give(ONE, "publish", 9, LOBBY, "ann", "", b"b")
    epoch = scene.world.book.rooms[LOBBY].epoch
    sent = scene.links.take()
    assert sent[0] == (TWO, ["ok", 8, [epoch, 1, False, [], False, 2]])
    assert [(name, item[0]) for name, item in sent[1:]] == [(ONE, "m"), (TWO, "m"), (ONE, "ok")]
    assert sent[1][1][1:3] == [LOBBY, 2]
    assert sent[3][1] == ["ok", 9, [epoch, 2]]


def test_a_join_with_since_gets_what_it_missed(scene: Scene) -> None:
    epoch = scene.join(ONE)[0]
    for text in "abc":
        scene.say(text)
    _, offset, recovered, messages, more, count = scene.join(TWO, since=[epoch, 1])
    assert (offset, recovered, more, count) == (3, True, False, 2)
    assert [row[:3] for row in messages] == [[2, "ann", b"b"], [3, "ann", b"c"]]
    assert scene.join(TWO, since=[epoch - 1, 1])[2] is False


def test_a_join_without_since_gets_no_messages(scene: Scene) -> None:
    scene.join(ONE)
    scene.say("a")
    assert scene.join(TWO)[2:5] == [False, [], False]


def test_a_long_recovery_says_that_there_is_more(scene: Scene) -> None:
    epoch = scene.join(ONE)[0]
    for _ in range(REPLY_MESSAGES + 1):
        scene.say("x")
    _, _, recovered, messages, more, _ = scene.join(TWO, since=[epoch, 0])
    assert (recovered, len(messages), more) == (True, REPLY_MESSAGES, True)


def test_a_full_room_refuses_and_counts_nobody_more() -> None:
    scene = Scene(rooms=(RoomRule(member_limit=3),))
    scene.join(ONE, members=2)
    scene.join(TWO, members=1)
    assert scene.join(ONE, members=3) == ("full", {"limit": 3})
    assert scene.count_of() == 3
    scene.give(ONE, "count", LOBBY, 1, 0, None)
    assert scene.join(TWO, members=2)[5] == 3


def test_who_is_in_a_full_room_may_join_it_again() -> None:
    scene = Scene(rooms=(RoomRule(member_limit=2),))
    scene.announce(ONE, [LOBBY, 5, 0, 0, 0])
    assert scene.join(ONE, members=5)[5] == 5


def test_a_key_said_again_has_the_offset_it_had_and_is_not_heard_again(scene: Scene) -> None:
    scene.join(TWO)
    first = scene.say("a", name="k")
    scene.say("b")
    scene.give(ONE, "publish", 9, LOBBY, "ann", "k", b"a")
    assert scene.links.take() == [(ONE, ["ok", 9, first])]


def test_a_publish_that_wants_no_answer_gets_none(scene: Scene) -> None:
    scene.join(TWO)
    scene.links.take()
    scene.give(ONE, "publish", 0, LOBBY, "ann", "", b"a")
    assert scene.links.kinds() == [(TWO, "m")]


def test_publishes_into_one_room_are_limited_and_say_when_to_come_back() -> None:
    scene = Scene(publishes_per_second=5)
    answers = [scene.say("x") for _ in range(11)]
    assert [answer[1] for answer in answers[:10]] == list(range(1, 11))
    assert answers[10] == ("rate_limited", {"after": 201})
    assert scene.say("x", key="demo/plaza/other")[1] == 1
    scene.clock.now += 0.21
    assert scene.say("x")[1] == 11


def test_equal_rooms_keys_and_users_of_two_products_never_meet(scene: Scene) -> None:
    mine, theirs = "demo/plaza/lobby", "other/plaza/lobby"
    scene.join(ONE, mine)
    scene.join(TWO, theirs)
    assert scene.say("a", key=mine, name="k")[1] == 1
    scene.links.take()
    scene.give(ONE, "publish", 9, theirs, "ann", "k", b"b")
    assert [(name, item[:2]) for name, item in scene.links.take("m")] == [(TWO, ["m", theirs])]
    assert (scene.count_of(mine), scene.count_of(theirs)) == (1, 1)


# history and presence


def test_history_gives_the_newest_or_what_followed(scene: Scene) -> None:
    epoch = scene.join(ONE)[0]
    for text in "abcd":
        scene.say(text)

    def texts(answer: Any) -> list[str]:
        return [row[2].decode() for row in answer[4]]

    newest = scene.ask(ONE, "history", LOBBY, None, 2)
    assert (newest[:4], texts(newest), newest[5]) == ([epoch, 4, 1, False], ["c", "d"], False)
    following = scene.ask(ONE, "history", LOBBY, [epoch, 1], 2)
    assert (following[3], texts(following), following[5]) == (True, ["b", "c"], True)
    elsewhere = scene.ask(ONE, "history", LOBBY, [epoch + 1, 1], 300)
    assert (elsewhere[3], texts(elsewhere), elsewhere[5]) == (False, ["a", "b", "c", "d"], False)


def test_the_history_of_an_empty_room_is_empty_and_begins_with_the_next(scene: Scene) -> None:
    epoch, *rest = scene.ask(ONE, "history", "demo/plaza/nobody", None, 300)
    assert epoch > 0
    assert rest == [0, 1, False, [], False]


def test_presence_names_the_users_once_the_gateways_have(scene: Scene) -> None:
    scene.join(ONE)
    scene.give(TWO, "presence", 9, LOBBY)
    assert scene.links.take() == [(ONE, ["roster", LOBBY, True])]
    scene.give(ONE, "count", LOBBY, 1, 0, [[1, "ann", "phone", "mobile", 100]])
    assert scene.links.take() == [(TWO, ["ok", 9, [1, [["ann", [["phone", "mobile"]], 100]]]])]


def test_presence_of_a_room_that_is_not_there_makes_none(scene: Scene) -> None:
    assert scene.ask(ONE, "presence", LOBBY) == [0, []]
    assert scene.count_of() == -1


def test_a_listeners_join_is_answered_after_who_was_there_is_known(scene: Scene) -> None:
    scene.join(TWO)
    scene.links.take()
    scene.give(ONE, "join", 8, LOBBY, [1, 1], None, True)
    assert scene.links.kinds() == [(TWO, "roster"), (ONE, "roster")]
    scene.give(ONE, "count", LOBBY, 1, 1, [])
    scene.say("between", gateway=TWO)
    scene.links.take()
    scene.give(TWO, "count", LOBBY, 1, 0, [[1, "bob", "web", "browser", 5]])
    ((name, answer),) = scene.links.take()
    assert (name, answer[:2], answer[2][1]) == (ONE, ["ok", 8], 1)
    scene.give(TWO, "count", LOBBY, 2, 0, [[1, "bob", "web", "browser", 5], [2, "cat", "web", "browser", 6]])
    assert scene.links.take() == [(ONE, ["event", LOBBY, "joined", "cat", 3])]


def test_a_listeners_join_does_not_wait_for_a_silent_gateway_for_long(scene: Scene) -> None:
    scene.join(TWO)
    scene.give(ONE, "join", 8, LOBBY, [1, 1], None, True)
    scene.links.take()
    scene.pass_time(0.5)
    assert scene.links.take("ok") == []
    scene.pass_time(0.6)
    assert [item[:2] for _, item in scene.links.take("ok")] == [["ok", 8]]


# counts


def test_counts_are_absolute_and_may_be_repeated(scene: Scene) -> None:
    scene.join(ONE, members=3)
    for members in (4, 4, 2):
        scene.give(ONE, "count", LOBBY, members, 0, None)
    assert scene.count_of() == 2


def test_a_count_of_nobody_makes_no_room(scene: Scene) -> None:
    scene.give(ONE, "count", LOBBY, 0, 0, [])
    assert scene.count_of() == -1
    scene.give(ONE, "count", LOBBY, 2, 0, None)
    assert scene.count_of() == 2


ANNOUNCED: dict[str, tuple[int, int, bool]] = {
    "where it is": (0, 3, False),
    "behind": (0, 2, True),
    "another epoch": (-1, 3, True),
    "not known yet": (-(10**16), 0, True),
}


@pytest.mark.parametrize(("epoch", "offset", "synced"), ANNOUNCED.values(), ids=ANNOUNCED)
def test_a_gateway_that_stands_elsewhere_is_told_where_the_room_stands(
    scene: Scene, epoch: int, offset: int, synced: bool
) -> None:
    scene.join(TWO)
    for text in "abc":
        scene.say(text)
    room = scene.world.book.rooms[LOBBY]
    scene.announce(ONE, [LOBBY, 4, 1, max(0, room.epoch + epoch), offset])
    assert (room.count, room.listening) == (5, 1)
    assert scene.links.take() == [(ONE, ["sync", LOBBY, room.epoch, 3])] * synced


def test_rooms_a_gateway_does_not_name_lose_their_members_there_only(scene: Scene) -> None:
    rooms = [f"demo/plaza/{n}" for n in range(4)]
    for key in rooms:
        scene.join(ONE, key, members=2)
        scene.join(TWO, key)
    scene.give(ONE, "announce", [[rooms[0], 5, 0, 0, 0]], True, False)
    scene.give(ONE, "announce", [[rooms[2], 1, 0, 0, 0], [rooms[3], 0, 0, 0, 0]], False, True)
    scene.world.catch_up()
    assert [scene.count_of(key) for key in rooms] == [6, 1, 2, 1]
    assert scene.world.book.members == 10


def test_what_is_told_after_an_announcement_is_not_forgotten_with_it(scene: Scene) -> None:
    scene.join(ONE)
    scene.announce(ONE)
    scene.join(ONE, members=2)
    scene.world.catch_up()
    assert scene.count_of() == 2


def test_an_announcement_that_was_cut_is_replaced_by_the_next(scene: Scene) -> None:
    other = "demo/plaza/other"
    scene.give(ONE, "announce", [[LOBBY, 1, 0, 0, 0]], True, False)
    scene.give(ONE, "announce", [[other, 1, 0, 0, 0]], True, True)
    scene.world.catch_up()
    assert (scene.count_of(LOBBY), scene.count_of(other)) == (0, 1)


def test_a_gateway_that_begins_to_announce_again_loses_nobody_before_its_last_slice(scene: Scene) -> None:
    scene.join(ONE)
    scene.announce(ONE)
    scene.give(ONE, "announce", [], True, False)
    scene.world.catch_up()
    assert scene.count_of() == 1
    scene.give(ONE, "announce", [], False, True)
    scene.world.catch_up()
    assert scene.count_of() == 0


def test_a_gateway_that_announces_again_while_it_is_being_forgotten_keeps_what_it_names(scene: Scene) -> None:
    keys = [f"demo/plaza/{n}" for n in range(3_000)]
    for key in keys:
        scene.give(ONE, "count", key, 1, 0, None)
    scene.announce(ONE)
    forgetting = gevent.spawn(scene.world.counts.step)
    gevent.sleep(0)
    assert 0 < scene.world.book.members < 3_000, "it lets others run in between"
    scene.announce(ONE, *[[key, 1, 0, 0, 0] for key in keys])
    forgetting.join()
    scene.world.counts.step()
    assert scene.world.book.members == 3_000


def test_a_gateway_is_forgotten_when_it_was_away_for_long(scene: Scene) -> None:
    gone_after = scene.process.settings.lease.gone_after
    scene.join(ONE)
    scene.join(TWO)
    scene.world.link_down(ONE)
    scene.pass_time(gone_after - 1)
    assert scene.count_of() == 2
    scene.pass_time(2)
    assert scene.count_of() == 1
    scene.say("x", gateway=TWO)
    assert {name for name, _ in scene.links.take()} <= {TWO}


def test_a_gateway_that_is_back_in_time_keeps_its_members(scene: Scene) -> None:
    scene.join(ONE)
    scene.world.link_down(ONE)
    scene.pass_time(5)
    scene.world.link_up(ONE)
    scene.pass_time(100)
    assert scene.count_of() == 1


def digest_of(*rows: tuple[str, int, int]) -> int:
    return sum(weight(*row) for row in rows) & MASK


def test_a_digest_that_fits_asks_for_nothing(scene: Scene) -> None:
    scene.give(ONE, "count", LOBBY, 3, 1, None)
    scene.give(ONE, "count", "demo/plaza/b", 2, 0, None)
    for _ in range(5):
        scene.give(ONE, "digest", digest_of((LOBBY, 3, 1), ("demo/plaza/b", 2, 0)))
    assert scene.links.take() == []


def test_digests_that_differ_three_times_in_a_row_ask_for_all(scene: Scene) -> None:
    scene.join(ONE)
    scene.links.take()
    fitting, other = digest_of((LOBBY, 1, 0)), digest_of((LOBBY, 2, 0))
    for value in (other, other, fitting, other, other):
        scene.give(ONE, "digest", value)
        assert scene.links.take() == []
    scene.give(ONE, "digest", other)
    assert scene.links.take() == [(ONE, ["recount"])]
    assert scene.world.counters.digest_mismatches == 1
    scene.announce(ONE, [LOBBY, 2, 0, 0, 0])
    scene.give(ONE, "digest", other)
    assert scene.links.take("recount") == []


def test_a_gateway_whose_announcement_was_cut_off_is_asked_for_all_again(scene: Scene) -> None:
    scene.world.link_up(ONE)
    scene.give(ONE, "announce", [[LOBBY, 1, 0, 0, 0]], True, False)
    scene.links.take()
    for _ in range(3):
        scene.give(ONE, "digest", digest_of((LOBBY, 1, 0)))
    assert scene.links.take() == [(ONE, ["recount"])]
    scene.announce(ONE, [LOBBY, 1, 0, 0, 0])
    for _ in range(3):
        scene.give(ONE, "digest", digest_of((LOBBY, 1, 0)))
    assert scene.links.take("recount") == []


def test_a_message_said_before_a_new_stream_was_announced_shows_in_the_sync(scene: Scene) -> None:
    epoch = scene.join(ONE)[0]
    scene.world.link_down(ONE)
    scene.world.link_up(ONE)
    scene.say("unheard", gateway=TWO)
    assert scene.links.take() == []
    scene.announce(ONE, [LOBBY, 1, 0, epoch, 0])
    scene.give(TWO, "publish", 0, LOBBY, "bob", "", b"heard")
    sent = scene.links.take()
    assert [(name, item[0]) for name, item in sent] == [(ONE, "sync"), (ONE, "m")]
    assert (sent[0][1][3], sent[1][1][2]) == (1, 2)


def test_the_digest_fits_again_after_an_announcement(scene: Scene) -> None:
    for n in range(5):
        scene.join(ONE, f"demo/plaza/{n}", members=n + 1)
    scene.announce(ONE, ["demo/plaza/1", 9, 2, 0, 0])
    for _ in range(3):
        scene.give(ONE, "digest", digest_of(("demo/plaza/1", 9, 2)))
    scene.world.catch_up()
    for _ in range(3):
        scene.give(ONE, "digest", digest_of(("demo/plaza/1", 9, 2)))
    assert scene.links.take("recount") == []


ROOMS = st.sampled_from([f"demo/plaza/{n}" for n in range(4)])
TOLD = st.tuples(ROOMS, st.integers(0, 3), st.integers(0, 1))


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("count"), st.sampled_from([ONE, TWO]), TOLD),
            st.tuples(
                st.just("announce"), st.sampled_from([ONE, TWO]), st.lists(TOLD, unique_by=lambda row: row[0])
            ),
        ),
        max_size=30,
    )
)
def test_whatever_is_told_the_world_counts_what_was_told_last(steps: list[tuple[str, str, Any]]) -> None:
    scene = Scene()
    told: dict[str, dict[str, tuple[int, int]]] = {ONE: {}, TWO: {}}
    for kind, gateway, what in steps:
        if kind == "count":
            key, members, listening = what
            scene.give(gateway, "count", key, members, listening, None)
            told[gateway][key] = (members, listening)
        else:
            scene.announce(gateway, *[[*row, 0, 0] for row in what])
            told[gateway] = {key: (members, listening) for key, members, listening in what}
    scene.world.counts.step()
    for gateway, rows in told.items():
        for key, room in scene.world.book.rooms.items():
            assert room.members.get(gateway, (0, 0))[0] == rows.get(key, (0, 0))[0]
        for _ in range(3):
            scene.give(gateway, "digest", digest_of(*[(key, *counts) for key, counts in rows.items()]))
    assert scene.links.take("recount") == []
    assert scene.world.book.members == sum(c for rows in told.values() for c, _ in rows.values())


# durable rooms


def test_a_durable_room_is_loaded_before_its_first_join_is_answered(durable: Scene) -> None:
    durable.give(ONE, "join", 8, KEEP, [1, 0], None, False)
    assert durable.links.take("ok") == []
    epoch, offset, *_ = durable.wait_answer()[2]
    assert epoch > 0
    assert offset == 0
    assert durable.join(TWO, KEEP)[:2] == [epoch, 0]


def test_a_durable_publish_right_behind_its_join_is_stored_and_confirmed(durable: Scene) -> None:
    durable.give(ONE, "join", 8, KEEP, [1, 0], None, False)
    durable.give(ONE, "publish", 9, KEEP, "ann", "k", b"a")
    sent: list[Any] = []
    until(lambda: sent.extend(durable.links.take()) or len(sent) >= 4)  # type: ignore[func-returns-value]
    assert [item[0] for _, item in sent] == ["sync", "ok", "m", "ok"]
    assert sent[3][1] == ["ok", 9, [sent[1][1][2][0], 1]]


def test_a_new_world_recovers_what_the_old_one_stored(make_durable: Callable[..., Scene]) -> None:
    old = make_durable()
    old.give(ONE, "join", 8, KEEP, [1, 0], None, False)
    epoch = old.wait_answer()[2][0]
    for text in (b"a", b"b"):
        old.give(ONE, "publish", 9, KEEP, "ann", "", text)
        old.wait_answer()
    new = make_durable()
    new.process.incarnation = "0000000000000003-bb"
    new.give(TWO, "join", 8, KEEP, [1, 0], [epoch, 1], False)
    answer = new.wait_answer()[2]
    assert (answer[:3], [row[2] for row in answer[3]]) == ([epoch, 2, True], [b"b"])


def test_a_durable_room_whose_store_is_away_refuses_but_knows_its_members(durable: Scene) -> None:
    durable.dbservers.before = raising(Unavailable("away"), "room_load", times=1_000)
    durable.give(ONE, "join", 8, KEEP, [1, 0], None, False)
    assert durable.wait_answer()[2] == "unavailable"
    durable.give(ONE, "history", 8, KEEP, None, 10)
    assert durable.wait_answer()[2] == "unavailable"
    durable.give(ONE, "publish", 8, KEEP, "ann", "", b"x")
    assert durable.wait_answer()[2] == "unavailable"
    for _ in range(3):
        durable.give(ONE, "digest", digest_of((KEEP, 1, 0)))
    assert durable.links.take() == []
    durable.dbservers.before = lambda method, args: None
    durable.world.loader.step()
    until(lambda: bool(durable.links.take("sync")))


def test_members_announced_before_a_durable_room_is_loaded_hear_where_it_stands_and_what_follows(
    make_durable: Callable[..., Scene],
) -> None:
    old = make_durable()
    old.give(ONE, "join", 8, KEEP, [1, 0], None, False)
    epoch = old.wait_answer()[2][0]
    old.give(ONE, "publish", 9, KEEP, "ann", "", b"a")
    old.wait_answer()
    new = make_durable()
    new.process.incarnation = "0000000000000003-bb"
    new.announce(ONE, [KEEP, 1, 0, epoch, 0])
    assert new.count_of(KEEP) == 1
    sent: list[Any] = []
    until(lambda: bool(sent.extend(new.links.take("sync")) or sent))  # type: ignore[func-returns-value]
    assert sent == [(ONE, ["sync", KEEP, epoch, 1])]
    new.give(TWO, "publish", 9, KEEP, "bob", "", b"b")
    until(lambda: bool(sent.extend(new.links.take("m")) or len(sent) > 1))  # type: ignore[func-returns-value]
    assert (sent[1][0], sent[1][1][:4]) == (ONE, ["m", KEEP, 2, "bob"])


def test_what_a_gateway_tells_while_a_room_is_loading_counts(durable: Scene) -> None:
    go_on = Event()
    durable.dbservers.before = lambda method, args: go_on.wait()
    durable.give(ONE, "join", 8, KEEP, [1, 0], None, False)
    durable.announce(ONE)
    durable.world.catch_up()
    go_on.set()
    durable.wait_answer()
    assert durable.count_of(KEEP) == 0


def test_the_answer_to_a_join_given_up_by_a_store_names_no_offset(durable: Scene) -> None:
    durable.dbservers.before = raising(DeadlineExceeded("no answer"), "room_load", times=2)
    durable.give(ONE, "join", 8, KEEP, [1, 0], None, False)
    answer = durable.wait_answer()
    assert (answer[0], answer[2]) == ("err", "unavailable")


def test_too_much_waiting_for_storage_is_busy(make_durable: Callable[..., Scene]) -> None:
    durable = make_durable(append_bytes=65_536)
    go_on = Event()
    durable.dbservers.before = lambda method, args: go_on.wait()
    for _ in range(2):
        durable.give(ONE, "publish", 9, KEEP, "ann", "", b"x" * 40_000)
    ((_, refusal),) = durable.links.take()
    assert refusal[:3] == ["err", 9, "busy"]
    assert durable.world.queues()["append"] > 40_000
    go_on.set()
    assert durable.wait_answer()[0] == "ok"


# the whole


def test_the_world_counts_what_it_does(scene: Scene) -> None:
    scene.join(ONE)
    scene.join(TWO)
    scene.say("x")
    scene.announce(ONE, [LOBBY, 1, 0, 0, 0])
    counters = scene.world.counters
    assert (counters.published, counters.forwarded, counters.resyncs) == (1, 2, 1)


def test_the_gauges_say_what_is_held(scene: Scene) -> None:
    scene.tasks.every = lambda name, seconds, function: None  # type: ignore[assignment, method-assign, misc]
    scene.tasks.spawn = lambda name, function, core=False: None  # type: ignore[assignment, method-assign, misc]
    scene.world.start()
    scene.join(ONE, members=3)
    values = {family[0]: family[3][0][2] for family in scene.process.metrics.families() if family[3]}
    assert (values["roost_world_rooms"], values["roost_world_members"]) == (1, 3)
    assert values["roost_world_history_bytes"] == scene.world.book.held_bytes


def test_a_world_keeps_links_with_the_gateways_only(scene: Scene) -> None:
    assert scene.world.peers() == (ONE, TWO)
