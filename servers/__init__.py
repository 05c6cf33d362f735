"""One file per process group. Importing any of them patches the standard library first."""

import os

os.environ.setdefault("GEVENT_TRACK_GREENLET_TREE", "false")

from gevent import monkey  # noqa: E402 - the line above must come first

monkey.patch_all()
