"""Start and stop a whole cluster: run folder, supervisord, the order of both.

supervisord gets a session of its own: the Ctrl-C or hang-up that reaches `./roost up`
reaches nobody else, so the end is always the ordered one.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from common.errors import ConfigError
from common.keys import make_secrets
from common.places import Places
from common.settings import ROOT, Settings, load
from tools import bundled, ports, processes
from tools.control import Supervisor

START_SECONDS = 15.0
"""How long supervisord itself may take until it answers."""
STOP_SECONDS = 17.0
"""How long the ordered stop may take before what is left is killed."""
DESCRIPTORS = 1_048_576
"""More open files than this no process needs."""
LEFT_OUT = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
"""What processes do not get: the launcher's path, and what container images like to set. Each
process would then compile all it imports, at every start: twice the CPU time of one."""
UNFIT = frozenset('%"\\')
"""What supervisord and Redis read as something else in a path."""
CURE = "`make run` starts a cluster, ROOST_RUN_DIR names the folder of another one"


def record_path(run_dir: Path) -> Path:
    """Give where a running cluster leaves the ROOST_ variables it was started with."""
    return run_dir / "cluster.json"


def load_running(environment: Mapping[str, str]) -> Settings:
    """Give the settings of the cluster that runs in the run folder named by `environment`.

    What it was started with counts, unless `environment` itself says otherwise; without a
    running cluster these are simply the settings.
    """
    settings = load(environment)
    try:
        recorded = json.loads(record_path(Places(settings).run_dir).read_text())
    except (OSError, ValueError):
        return settings
    return load({**recorded, **environment})


def settings_of_running(environment: Mapping[str, str]) -> Settings:
    """Give the settings of the cluster that runs in the run folder named by `environment`.

    Raises:
        ConfigError: none does; the text names the cure.
    """
    settings = load_running(environment)
    check_runs(Places(settings).run_dir)
    return settings


def check_runs(run_dir: Path) -> None:
    """Refuse to go on without a cluster in this run folder.

    Raises:
        ConfigError: nothing runs there; the text names the cure.
    """
    if not runs(run_dir):
        raise ConfigError(f"nothing runs in {run_dir}; {CURE}")


def runs(run_dir: Path) -> bool:
    """Tell whether a cluster was started in this run folder and not ended since."""
    return record_path(run_dir).exists()


def environment_for(settings: Settings, places: Places, base: Mapping[str, str]) -> dict[str, str]:
    """Give the environment of supervisord and so of every process: `base` and what its file expands."""
    cluster = settings.cluster
    own_redis = bool(settings.redis.url)
    environment = {k: v for k, v in base.items() if k not in LEFT_OUT}
    if "ROOST_CONF" in base:
        environment["ROOST_CONF"] = str(Path(base["ROOST_CONF"]).resolve())
    return environment | {
        "ROOST_RUN_DIR": str(places.run_dir),
        "ROOST_CLUSTER_RUN_DIR": str(places.run_dir),
        "ROOST_CLUSTER_GATEWAYS": str(cluster.gateways),
        "ROOST_CLUSTER_FUNCTIONS": str(cluster.functions),
        "ROOST_CLUSTER_SESSIONS": str(cluster.sessions),
        "ROOST_CLUSTER_DBSERVERS": str(cluster.dbservers),
        "ROOST_CLUSTER_MAPS": json.dumps(cluster.maps),
        "ROOST_LOG_FILE_BYTES": str(settings.log.file_bytes),
        "ROOST_LOG_FILE_COUNT": str(settings.log.file_count),
        "SUPERVISE_PYTHON": sys.executable,
        "SUPERVISE_WORLDS": str(len(places.worlds)),
        "SUPERVISE_GATEWAY_STOP": str(math.ceil(settings.gateway.stop_timeout) + 5),
        "SUPERVISE_REDIS": "redis-server" if own_redis else str(bundled.find_server()),
        "SUPERVISE_REDIS_BUNDLED": "false" if own_redis else "true",
    }


def start(
    settings: Settings,
    places: Places,
    base: Mapping[str, str],
    checked: Callable[[], object] = lambda: None,
) -> subprocess.Popen[bytes]:
    """Check everything, then start supervisord with the cluster; give it once it answers.

    Args:
        base: the environment its processes get besides the settings.
        checked: called when all is checked, before anything starts.

    Raises:
        ConfigError: a port is taken, a cluster is there already, no Redis … The text names
            the cure; nothing was started.
    """
    places.check_socket_paths()
    run_dir = places.run_dir
    _check_characters(run_dir)
    _make_folders(run_dir)
    with _starting(run_dir):
        _refuse_second(run_dir)
        ports.check(ports.wanted(settings, places))
        environment = environment_for(settings, places, base)
        secrets = make_secrets(run_dir)
        if not settings.redis.url:
            bundled.write_configuration(run_dir, settings.redis, secrets.redis_password)
        clear(run_dir)
        checked()
        return _spawn(run_dir, environment)


def _check_characters(run_dir: Path) -> None:
    for path, cure in ((ROOT, "move Roost"), (run_dir, "set ROOST_RUN_DIR to another folder")):
        wrong = sorted(char for char in set(str(path)) if char in UNFIT or not char.isprintable())
        if wrong:
            raise ConfigError(f"{path}: there must be no {' '.join(map(repr, wrong))} in a path; {cure}")


def _make_folders(run_dir: Path) -> None:
    try:
        for folder in (run_dir, run_dir / "sock", run_dir / "log", run_dir / "redis"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot make {error.filename}: {error.strerror}; set ROOST_RUN_DIR to a writable folder"
        ) from None


@contextmanager
def _starting(run_dir: Path) -> Iterator[None]:
    """Keep a second `up` out of this run folder while one is starting."""
    with (run_dir / "up.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another `./roost up` is starting in {run_dir}; wait for it") from None
        yield


def _refuse_second(run_dir: Path) -> None:
    pid = Supervisor(run_dir).pid()
    if pid is not None:
        raise ConfigError(
            f"a cluster runs already in {run_dir} (supervisord is pid {pid}); `./roost down` ends it; "
            "for a second one give it its own folder and ports, e.g. ROOST_RUN_DIR=run2 ROOST_PORT=8000"
        )
    left = processes.of_run_dir(run_dir)
    if left:
        raise ConfigError(
            f"processes of an earlier cluster still run in {run_dir} without their supervisord "
            f"(pids {', '.join(map(str, left))}); `./roost down` ends them"
        )


def _spawn(run_dir: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    _raise_descriptor_limit()
    said = run_dir / "log" / "supervisord.err"
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(ROOT / "supervisord.conf")]
    with said.open("wb") as output:
        supervisord = subprocess.Popen(
            command,
            env=environment,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _write_record(run_dir, environment)
    control = Supervisor(run_dir)
    deadline = time.monotonic() + START_SECONDS
    while control.pid() is None:
        if supervisord.poll() is not None or time.monotonic() > deadline:
            supervisord.kill()
            supervisord.wait()
            clear(run_dir)
            raise ConfigError(f"supervisord did not start: {said.read_text().strip() or 'no answer'}")
        time.sleep(0.05)
    return supervisord


def _raise_descriptor_limit() -> None:
    """A gateway holds a descriptor per client; children inherit the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _write_record(run_dir: Path, environment: Mapping[str, str]) -> None:
    """Leave what other commands need to find this cluster; may hold keys, so for the owner only."""
    path = record_path(run_dir)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({k: v for k, v in environment.items() if k.startswith("ROOST_")}, file, indent=1)


def stop(run_dir: Path, reap: Callable[[], object] = lambda: None) -> bool:
    """End the cluster of a run folder in order, within 20 s; nothing of it stays behind.

    Args:
        run_dir: its run folder.
        reap: called while waiting; lets supervisord's parent collect it.

    Returns:
        False if nothing ran there.
    """
    control = Supervisor(run_dir)
    pid = control.pid() or _recorded_pid(run_dir)
    left = processes.of_run_dir(run_dir)
    if pid is None and not left:
        clear(run_dir)
        return False
    if pid is not None and control.shutdown():
        deadline = time.monotonic() + STOP_SECONDS
        while processes.alive(pid) and time.monotonic() < deadline:
            reap()
            control.nudge()
            time.sleep(0.05)
    if pid is not None and processes.alive(pid):
        processes.kill([pid])
        reap()
    processes.end(processes.of_run_dir(run_dir))
    clear(run_dir)
    return True


def _recorded_pid(run_dir: Path) -> int | None:
    """Give the pid of a supervisord that does not answer (stopped, stuck)."""
    try:
        pid = int((run_dir / "supervisord.pid").read_text())
    except (OSError, ValueError):
        return None
    is_ours = processes.environment_of(pid).get("ROOST_RUN_DIR") == str(run_dir)
    return pid if is_ours and processes.alive(pid) else None


def clear(run_dir: Path) -> None:
    """Remove what a cluster leaves only while it runs: sockets, pid file, record."""
    for path in (run_dir / "sock").glob("*"):
        path.unlink(missing_ok=True)
    (run_dir / "supervisord.pid").unlink(missing_ok=True)
    record_path(run_dir).unlink(missing_ok=True)
