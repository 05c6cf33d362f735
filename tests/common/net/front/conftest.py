from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.common.net.front.scene import Site


@pytest.fixture
def make_site() -> Iterator[Callable[..., Site]]:
    """Make gateways that are ended afterwards; keywords are settings of the gateway."""
    sites: list[Site] = []

    def make(**options: Any) -> Site:
        sites.append(Site(**options))
        return sites[-1]

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()
