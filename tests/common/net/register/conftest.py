from __future__ import annotations

import pytest

from tests.common.net.register.scene import Scene


@pytest.fixture
def scene() -> Scene:
    return Scene()
