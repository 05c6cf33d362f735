"""The gateway's certificate, read again when its files change."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from gevent.ssl import SSLContext

from common.errors import ConfigError
from common.net.log import get as get_log


class Certificate:
    """What TLS handshakes are done with.

    Args:
        certificate, key: PEM files; key "": it stands in the certificate's file.

    Raises:
        ConfigError: they cannot be read, or do not fit each other.

    Attributes:
        context: for the next handshake.
    """

    def __init__(self, certificate: str, key: str) -> None:
        self._files = [Path(name).resolve() for name in (certificate, key) if name]
        self._log = get_log()
        self._seen = self._stamp()
        self.context = self._load()

    def _stamp(self) -> list[tuple[int, int]]:
        try:
            return [(one.st_mtime_ns, one.st_ino) for one in map(os.stat, self._files)]
        except OSError:
            return []

    def _load(self) -> SSLContext:
        context = SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(*self._files)
        except (OSError, ssl.SSLError) as error:
            names = ", ".join(map(str, self._files))
            raise ConfigError(f"gateway.tls_certificate, gateway.tls_key ({names}): {error}") from None
        return context

    def step(self) -> None:
        """Take a changed certificate; a bad one leaves the old one. Called every few seconds."""
        stamp = self._stamp()
        if not stamp or stamp == self._seen:
            return
        self._seen = stamp
        try:
            self.context = self._load()
            self._log.info("certificate taken", files=[str(one) for one in self._files])
        except ConfigError as error:
            self._log.error("certificate not taken, the old one stays", error=str(error))
