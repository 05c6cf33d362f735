import os

os.environ.setdefault("GEVENT_TRACK_GREENLET_TREE", "false")

from gevent import monkey  # noqa: E402 - patched before anything else is imported

monkey.patch_all()
