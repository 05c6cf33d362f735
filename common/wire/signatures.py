"""Whether a key has signed something: what JSON Web Signatures need, and no more.

    HS256           by the standard library
    RS256, EdDSA    by PyJWT and cryptography, imported when a key is of this kind: they take
                    more memory than all else a gateway imports

Source: RFC 7515, section 5.2; RFC 7518, sections 3.2 and 3.3; RFC 8037, section 3.1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hmac import compare_digest
from typing import Final

from common.wire.mac import mac_under

ALGORITHMS: Final = ("HS256", "RS256", "EdDSA")
SECRET_BYTES: Final = 32
"""Least length of an HS256 secret, RFC 7518, section 3.2."""

Verify = Callable[[bytes, bytes], bool]
"""(what was signed, signature) -> whether the key signed it."""


@lru_cache(maxsize=64)
def verifier(algorithm: str, key: str) -> Verify:
    """Give what verifies with a key; reading a PEM costs more than verifying, so it is kept.

    Args:
        algorithm: one of ALGORITHMS.
        key: the secret (HS256), or the public key as PEM.

    Raises:
        ValueError: it cannot be used, and why.
    """
    if algorithm == "HS256":
        return _of_secret(key)
    if algorithm in ALGORITHMS:
        return _of_public_key(algorithm, key)
    raise ValueError(f"algorithm {algorithm!r} is none of {', '.join(ALGORITHMS)}")


def _of_secret(key: str) -> Verify:
    secret = key.encode()
    if key.lstrip().startswith(("-----BEGIN", "ssh-")):
        raise ValueError("this is a public or private key, and HS256 needs a shared secret")
    if len(secret) < SECRET_BYTES:
        raise ValueError(f"shorter than {SECRET_BYTES} bytes")

    mac = mac_under(secret)

    def verify(signed: bytes, signature: bytes) -> bool:
        return compare_digest(mac(signed), signature)

    return verify


def _of_public_key(algorithm: str, key: str) -> Verify:
    import jwt  # noqa: PLC0415 - see the module's docstring

    by = jwt.get_algorithm_by_name(algorithm)
    try:
        prepared = by.prepare_key(key)
    except (jwt.PyJWTError, TypeError, NotImplementedError) as error:
        raise ValueError(str(error)) from None

    def verify(signed: bytes, signature: bytes) -> bool:
        return bool(by.verify(signed, prepared, signature))

    return verify
