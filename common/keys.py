"""The cluster's own secrets, and the way to Redis that depends on them.

    run/secrets.toml, mode 0600
        token_key       signs client tokens of `./roost token` (HS256)
        resume_key      signs resume tokens
        redis_password  of the bundled Redis

Nothing secret has a built-in default: the first run makes its own.
"""

from __future__ import annotations

import os
import secrets as random
import stat
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import quote

from common.errors import ConfigError
from common.places import Places, secrets_path
from common.settings import Settings

KEY_BYTES = 32


@dataclass(frozen=True, repr=False)
class Secrets:
    """What run/secrets.toml holds; never printed."""

    token_key: str
    resume_key: str
    redis_password: str


def redis_socket(run_dir: Path) -> Path:
    """Give where the bundled Redis listens."""
    return run_dir / "sock" / "redis.sock"


def redis_url(settings: Settings, places: Places, secrets: Secrets) -> str:
    """Give the address of Redis as redis.from_url takes it: yours if set, else the bundled one's."""
    if settings.redis.url:
        return settings.redis.url
    return f"unix://{quote(str(redis_socket(places.run_dir)))}?password={secrets.redis_password}"


def load_secrets(run_dir: Path) -> Secrets:
    """Read run/secrets.toml.

    Raises:
        ConfigError: missing, unreadable, damaged, or open to others than its owner; the text names the cure.
    """
    path = secrets_path(run_dir)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text()
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; `make run` or `./roost up` makes it") from None
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}; run as its owner") from None
    if mode & 0o077:
        raise ConfigError(f"{path} has mode {mode:04o}, others may read the keys; run `chmod 600 {path}`")
    return _parse(path, text)


def _parse(path: Path, text: str) -> Secrets:
    cure = "restore it, or remove it while the cluster is down and a new one is made (old tokens end)"
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is damaged ({error}); {cure}") from None
    names = [field.name for field in fields(Secrets)]
    for name in names:
        if not isinstance(values.get(name), str) or not values[name]:
            raise ConfigError(f"{path} has no {name}; {cure}")
    return Secrets(**{name: values[name] for name in names})


def make_secrets(run_dir: Path) -> Secrets:
    """Give the secrets of a run folder, made first if there are none; never overwrites.

    The file appears whole and with mode 0600, also when two processes make it at once.

    Raises:
        ConfigError: the folder cannot be written, or as load_secrets.
    """
    path = secrets_path(run_dir)
    if not path.exists():
        try:
            run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_new(path)
        except OSError as error:
            raise ConfigError(
                f"cannot make {path}: {error.strerror}; set ROOST_RUN_DIR to a writable folder"
            ) from None
    return load_secrets(run_dir)


def _write_new(path: Path) -> None:
    lines = [f'{field.name} = "{random.token_hex(KEY_BYTES)}"' for field in fields(Secrets)]
    draft = path.with_name(f"{path.name}.{random.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write("# Made by the first run. Keep it private; without it issued tokens are worthless.\n")
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()
