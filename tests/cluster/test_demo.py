"""The demo page in a real browser: two windows on two gateways talk, and one gateway is killed."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from common.settings import ROOT
from tests.cluster.carriers import Browser
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import MakeCluster
from tests.cluster.test_carriers import need
from tests.waiting import until

PICTURES = ROOT / "build" / "demo"
"""Where the pictures of docs/demo.md come from."""


class Page:
    """One window with the page in it.

    Args:
        address: "http://host:port" of a gateway.
    """

    def __init__(self, browser: Browser, address: str, token: str, room: str) -> None:
        self._browser = browser
        self._window = browser.new_window()
        browser.open(f"{address}/#room={room}&token={token}")

    def _run(self, script: str, *args: object) -> object:
        self._browser.switch(self._window)
        return self._browser.run(script, *args)

    def text(self, element: str) -> str:
        """Give what a reader sees of an element."""
        return str(self._run("return document.getElementById(arguments[0]).innerText", element))

    def said(self) -> list[str]:
        """Give the texts of the conversation that is shown, in order."""
        script = "return [...document.querySelectorAll('#log .words')].map((one) => one.innerText)"
        heard = self._run(script)
        assert isinstance(heard, list)
        return heard

    def state(self) -> str:
        """Give what the page says of its connection."""
        return self.text("state-text")

    def fill(self, form: str, field: str, words: str) -> None:
        """Type into a field and send its form."""
        self._run(
            "document.getElementById(arguments[1]).value = arguments[2];"
            "document.getElementById(arguments[0]).requestSubmit();",
            form,
            field,
            words,
        )

    def say(self, words: str) -> None:
        self.fill("compose", "text", words)

    def press(self, selector: str) -> None:
        self._run("document.querySelector(arguments[0]).click()", selector)

    def picture(self, name: str) -> None:
        """Keep a picture of the page."""
        self._browser.switch(self._window)
        PICTURES.mkdir(parents=True, exist_ok=True)
        (PICTURES / f"{name}.png").write_bytes(base64.b64decode(self._browser.screenshot()))


@pytest.fixture
def browser() -> Iterator[Browser]:
    need("chromium", "chromedriver")
    made = Browser(width=1100, height=700)
    yield made
    made.close()


def open_page(cluster: Cluster, browser: Browser, uid: str, gateway: int) -> Page:
    page = Page(browser, cluster.web_url(gateway), cluster.token(uid), "plaza/lobby")
    until(lambda: page.state() == "live" and page.text("title") == "plaza/lobby", 20)
    return page


def test_two_windows_talk_in_a_room_and_in_private(make_cluster: MakeCluster, browser: Browser) -> None:
    cluster = make_cluster({})
    alice, bob = open_page(cluster, browser, "alice", 0), open_page(cluster, browser, "bob", 1)
    alice.say("Good morning, grüße!")
    until(lambda: bob.said() == ["Good morning, grüße!"])
    bob.say("Good morning from the other gateway.")
    until(lambda: alice.said() == bob.said() and len(alice.said()) == 2)
    until(lambda: "alice" in bob.text("members-list") and "bob" in bob.text("members-list"))
    bob.picture("room")

    bob.fill("person-form", "person-name", "alice")
    bob.say("For you alone.")
    until(lambda: bob.said() == ["For you alone."])
    until(lambda: "bob" in alice.text("people"))
    assert "For you alone." not in alice.said()
    alice.picture("unread")
    alice.press("#people button")
    until(lambda: alice.said() == ["For you alone."])

    cluster.kill("gateway-0")
    until(lambda: alice.state() != "live")
    alice.picture("recovering")
    bob.press("#rooms button")
    bob.say("Said while alice was away.")
    until(lambda: alice.state() == "live", 20)
    alice.press("#rooms button")
    until(lambda: len(bob.said()) == 3 and alice.said() == bob.said(), 20)
    assert bob.state() == "live"
