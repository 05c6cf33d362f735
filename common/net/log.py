"""Structured logs: one line an event, key=value, to stderr; supervisord keeps and rotates them.

    time=2026-01-02T03:04:05.678Z level=info process=gateway-0 event="listening" port=7000

A traceback is the value of `exception`, on the same line. A level that is off
costs one call of an empty method. What libraries say by the standard library's
logging (zerorpc, gunicorn) becomes an event too, from `warning` up.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, TextIO, cast

import structlog
from structlog.typing import FilteringBoundLogger, Processor

Logger = FilteringBoundLogger
"""What `get` gives: `.debug .info .warning .error`, each `(event, **facts)`."""

ORDER = ("time", "level", "process", "event")
"""Keys that open a line; the facts follow as they were given."""


QUIET = {"zerorpc.channel": logging.ERROR}
"""Library -> the least level that is passed on. Below it zerorpc tells of each answer that came too
late; our own counters of time-outs have those."""


class Doubling:
    """Counts, and says when to warn: at 1, 2, 4, 8 …, so a flood fills no log."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def hit(self) -> bool:
        """Count one; True when the count has just become a power of two."""
        self.count += 1
        return self.count & (self.count - 1) == 0


def setup(level: str, process_name: str, stream: TextIO | None = None) -> None:
    """Say how all loggers made from now on write.

    Args:
        level: debug, info, warning or error; what is below is dropped at once.
        process_name: stands in each line.
        stream: stderr unless given.
    """
    structlog.configure(
        processors=_processors(process_name),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr if stream is None else stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    if not any(isinstance(handler, Bridge) for handler in root.handlers):
        root.addHandler(Bridge())
    root.setLevel(logging.WARNING)
    for name, least in QUIET.items():
        logging.getLogger(name).setLevel(least)


class Bridge(logging.Handler):
    """Takes what libraries log by the standard library, and writes it as events."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record as the last `setup` has it."""
        facts: dict[str, Any] = {"exc_info": record.exc_info} if record.exc_info else {}
        event = record.getMessage() or "library error"
        get().log(record.levelno, event, logger=record.name, **facts)


def report_uncaught(hub: Any) -> None:
    """Have what nobody caught written as an event: in the main greenlet, and in any without an owner.

    Args:
        hub: gevent's; it would print a page to stderr.
    """
    log = get()

    def of_the_process(_kind: Any, error: BaseException, _traceback: Any) -> None:
        log.error("uncaught error", exc_info=error)

    def of_a_greenlet(context: Any, kind: Any, error: Any, traceback: Any) -> None:
        log.error("uncaught error", greenlet=repr(context), exc_info=(kind, error, traceback))

    sys.excepthook = of_the_process
    hub.print_exception = of_a_greenlet


def get() -> Logger:
    """Give a logger as the last `setup` has it; made once and handed down, not at each event."""
    return cast(Logger, structlog.get_logger().bind())


def _processors(process_name: str) -> list[Processor]:
    def stamp(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        event["time"] = now.replace("+00:00", "Z")
        event["process"] = process_name
        return event

    return [
        stamp,
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.LogfmtRenderer(key_order=ORDER, drop_missing=True, bool_as_flag=False),
    ]
