"""Self-made certificates."""

from __future__ import annotations

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa


def make_certificate(path: Path, rsa_bits: int = 0) -> int:
    """Write a certificate and its key, P-256 or RSA with so many bits; give its serial number."""
    key = rsa.generate_private_key(65_537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
    now, serial, name = datetime.datetime.now(datetime.UTC), x509.random_serial_number(), x509.Name([])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), serial)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    new = path.with_suffix(".new")
    new.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    new.replace(path)
    return serial
