"""The demo page in a real browser: two windows on two gateways talk, and one gateway is killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from common.settings import ROOT
from tests.cluster.carriers import Browser, Window
from tests.cluster.cluster import Cluster
from tests.cluster.test_carriers import need
from tests.waiting import until

PICTURES = ROOT / "build" / "demo"
"""Where the pictures in docs/images come from."""


class Page(Window):
    """One window with the page in it.

    Args:
        address: "http://host:port" of a gateway.
    """

    def __init__(self, browser: Browser, address: str, token: str, room: str) -> None:
        super().__init__(browser, f"{address}/#room={room}&token={token}", PICTURES)

    def said(self) -> list[str]:
        """Give the texts of the conversation that is shown, in order."""
        script = "return [...document.querySelectorAll('#log .words')].map((one) => one.innerText)"
        heard = self.run(script)
        assert isinstance(heard, list)
        return heard

    def state(self) -> str:
        """Give what the page says of its connection."""
        return self.text("state-text")

    def fill(self, form: str, field: str, words: str) -> None:
        """Type into a field and send its form."""
        self.run(
            "document.getElementById(arguments[1]).value = arguments[2];"
            "document.getElementById(arguments[0]).requestSubmit();",
            form,
            field,
            words,
        )

    def say(self, words: str) -> None:
        self.fill("compose", "text", words)

    def press(self, selector: str) -> None:
        self.run("document.querySelector(arguments[0]).click()", selector)


@pytest.fixture
def browser() -> Iterator[Browser]:
    need("chromium", "chromedriver")
    made = Browser(width=1100, height=700)
    yield made
    made.close()


def open_page(cluster: Cluster, browser: Browser, uid: str, gateway: int, room: str) -> Page:
    page = Page(browser, cluster.web_url(gateway), cluster.token(uid), room)
    until(lambda: page.state() == "live" and page.text("title") == room, 20)
    return page


def test_two_windows_talk_in_a_room_and_in_private(cluster: Cluster, browser: Browser) -> None:
    alice = open_page(cluster, browser, "alice", 0, "plaza/lobby")
    bob = open_page(cluster, browser, "bob", 1, "plaza/lobby")
    alice.say("Good morning, grüße!")
    until(lambda: bob.said() == ["Good morning, grüße!"], 20)
    bob.say("Good morning from the other gateway.")
    until(lambda: alice.said() == bob.said() and len(alice.said()) == 2, 20)
    until(lambda: "alice" in bob.text("members-list") and "bob" in bob.text("members-list"), 20)
    bob.picture("room")

    bob.fill("person-form", "person-name", "alice")
    bob.say("For you alone.")
    until(lambda: bob.said() == ["For you alone."], 20)
    until(lambda: "bob" in alice.text("people"), 20)
    assert "For you alone." not in alice.said()
    alice.picture("unread")
    alice.press("#people button")
    until(lambda: alice.said() == ["For you alone."], 20)


def test_on_a_phone_the_list_and_the_talk_are_each_a_whole_page(cluster: Cluster) -> None:
    need("chromium", "chromedriver")
    phone = Browser(width=500, height=900)
    try:
        page = open_page(cluster, phone, "carol", 0, "plaza/tram")
        page.say("From the tram.")
        until(lambda: page.said() == ["From the tram."], 20)
        assert (page.shows("rooms"), page.shows("compose")) == (False, True)
        page.picture("phone")
        page.press("#back")
        until(lambda: page.shows("rooms"), 20)
        assert not page.shows("compose")
    finally:
        phone.close()


def test_both_windows_come_back_with_the_same_history_when_their_gateways_are_killed(
    cluster: Cluster, browser: Browser
) -> None:
    alice = open_page(cluster, browser, "alice", 0, "plaza/kills")
    bob = open_page(cluster, browser, "bob", 1, "plaza/kills")
    alice.say("Before.")
    until(lambda: alice.said() == bob.said() == ["Before."], 20)
    lose(cluster, "gateway-0", alice, bob, "Alice is away.")
    until(lambda: alice.said() == bob.said() == ["Before.", "Alice is away."], 20)
    lose(cluster, "gateway-1", bob, alice, "Bob is away.")
    until(lambda: alice.said() == bob.said() == ["Before.", "Alice is away.", "Bob is away."], 20)


def lose(cluster: Cluster, gateway: str, away: Page, other: Page, words: str) -> None:
    """Kill one's gateway while the other says something; returns when the first is back."""
    cluster.kill(gateway)
    until(lambda: away.state() != "live")
    away.picture("recovering")
    other.say(words)
    until(lambda: away.state() == "live", 20)
