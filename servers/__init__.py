"""One file per process group. Importing any of them patches the standard library first.

A machine may run many of these processes, so what libraries bring along and nothing here
uses is kept out (common/net/lean.py). `ssl` is left to who has TLS: it costs 4 MB
(common/net/front/certificate.py, common/net/store.py).
"""

import os

os.environ.setdefault("GEVENT_TRACK_GREENLET_TREE", "false")

from gevent import events, monkey  # noqa: E402 - the line above must come first

events.notify_and_call_entry_points = events.notify
# At each patch gevent would search all installed packages for plugins; there are none.

if not monkey.is_module_patched("socket"):
    monkey.patch_all(ssl=False)

from common.net import lean  # noqa: E402, F401 - behind the patching, before what imports these libraries
