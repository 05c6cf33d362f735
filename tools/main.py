"""The ./roost command: reads the arguments, runs one of the tools, says what went wrong."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "clients" / "python" / "src"
if str(CLIENT) not in sys.path:
    sys.path.append(str(CLIENT))  # the Python client installs alone; here it is used from its source

from common.errors import ConfigError, RequestError  # noqa: E402 - the path comes first
from common.handlers import Handlers  # noqa: E402
from common.keys import load_secrets  # noqa: E402
from common.places import Places  # noqa: E402
from common.settings import load  # noqa: E402
from tools import cluster, tokens  # noqa: E402
from tools.api import Operator  # noqa: E402
from tools.capacity import add_arguments as capacity_arguments  # noqa: E402
from tools.push import add_arguments as push_arguments  # noqa: E402

Command = Callable[[argparse.Namespace], int]
COMMANDS = Handlers("./roost commands")


@COMMANDS.on("up")
def up(arguments: argparse.Namespace) -> int:
    """Start the cluster and stay; Ctrl-C ends it in order."""
    from tools import up as command

    return command.up(load(), arguments.detach)


@COMMANDS.on("down")
def down(arguments: argparse.Namespace) -> int:
    """End the cluster of this run folder."""
    from tools import up as command

    return command.down(load())


@COMMANDS.on("status")
def status(arguments: argparse.Namespace) -> int:
    """Show every process; live on a terminal."""
    from tools import status as command

    return command.show(cluster.load_running(os.environ), arguments.json)


@COMMANDS.on("token")
def token(arguments: argparse.Namespace) -> int:
    """Print a client token per uid."""
    key = load_secrets(Places(load()).run_dir).token_key
    claims = tokens.claims_of(arguments)
    for uid in arguments.uid:
        print(tokens.make_token(key, uid, arguments.product, time.time(), arguments.ttl, claims))
    return 0


@COMMANDS.on("chat")
def chat(arguments: argparse.Namespace) -> int:
    """Talk in a room: a line typed is a message."""
    from tools import chat as command

    settings = cluster.load_running(os.environ)
    return command.chat(settings, arguments.room, arguments.uid, arguments.product, arguments.gateway)


@COMMANDS.on("tail")
def tail(arguments: argparse.Namespace) -> int:
    """Print what is said in a room."""
    from tools import chat as command

    settings = cluster.load_running(os.environ)
    return command.tail(
        settings, arguments.room, arguments.uid, arguments.product, arguments.gateway, arguments.lines
    )


@COMMANDS.on("logs")
def logs(arguments: argparse.Namespace) -> int:
    """Follow the logs of all processes, or of some."""
    from tools import logs as command

    return command.show(Places(load()).run_dir, arguments.group, arguments.lines, not arguments.once)


@COMMANDS.on("drain")
def drain(arguments: argparse.Namespace) -> int:
    """Move a gateway's clients away."""
    from tools import drain as command

    return command.drain(cluster.settings_of_running(os.environ), arguments.gateway, print)


@COMMANDS.on("bots")
def bots(arguments: argparse.Namespace) -> int:
    """Have bots play a map, and say how the cluster carried them."""
    from tools import bots as command

    settings = cluster.settings_of_running(os.environ)
    given = (arguments.map, arguments.count, arguments.seconds, arguments.product, arguments.json)
    return command.run(settings, *given)


@COMMANDS.on("reload")
def reload(arguments: argparse.Namespace) -> int:
    """Let a map go on with the code its file has now."""
    from tools import reload as command

    return command.reload(cluster.settings_of_running(os.environ), arguments.map, print)


@COMMANDS.on("apikey")
def apikey(arguments: argparse.Namespace) -> int:
    """Print a new key for application servers; or list or revoke keys."""
    from tools import apikeys as command

    settings = cluster.load_running(os.environ)
    given = (arguments.action, arguments.product, arguments.scopes, arguments.label, arguments.id)
    return command.run(settings, *given)


@COMMANDS.on("push")
def push(arguments: argparse.Namespace) -> int:
    """Send a message to users, to all, or into a room."""
    from tools import push as command

    return command.push(_operator(arguments.product), arguments)


@COMMANDS.on("user")
def user(arguments: argparse.Namespace) -> int:
    """Print what is known of a user."""
    from tools import push as command

    return command.user(_operator(arguments.product), arguments.uid)


@COMMANDS.on("message")
def message(arguments: argparse.Namespace) -> int:
    """Print what became of a kept message."""
    from tools import push as command

    return command.message(_operator(arguments.product), arguments.mid, arguments.uid)


@COMMANDS.on("capacity")
def capacity(arguments: argparse.Namespace) -> int:
    """Print what so many clients take, and what so many machines carry."""
    from tools import capacity as command

    return command.show(arguments)


def _operator(product: str) -> Operator:
    return Operator(cluster.settings_of_running(os.environ), product)


def parser() -> argparse.ArgumentParser:
    """Give the parser of the whole command line."""
    whole = argparse.ArgumentParser(
        prog="roost",
        description="Runs and operates a Roost cluster. Settings: conf/roost.toml and ROOST_… in the "
        "environment (docs/configuration.md); ROOST_RUN_DIR names the cluster.",
    )
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str) -> argparse.ArgumentParser:
        function = COMMANDS.get(name)
        help_text = (function.__doc__ or "") if function else ""
        made = commands.add_parser(name, help=help_text.rstrip("."), description=help_text)
        made.set_defaults(function=function)
        return made

    it = command("up")
    it.add_argument("-d", "--detach", action="store_true", help="return once all is ready")
    command("down")
    command("status").add_argument("--json", action="store_true", help="print JSON alone, once")
    _token_arguments(command("token"))
    for name, uid in (("chat", None), ("tail", "tail")):
        it = command(name)
        it.add_argument("room", metavar="ROOM", help="map/name, e.g. plaza/lobby")
        it.add_argument(
            "--as",
            dest="uid",
            metavar="UID",
            type=tokens.name,
            required=uid is None,
            default=uid,
            help="who you are there" if uid is None else f"who listens; {uid} unless given",
        )
        tokens.add_product(it)
        it.add_argument("--gateway", metavar="INDEX", type=int, help="that gateway's own port")
    it.add_argument(
        "-n", "--lines", type=tokens.count, default=10, help="last messages first, at most 300 (10)"
    )
    it = command("logs")
    it.add_argument(
        "group", metavar="GROUP", nargs="?", help="gateway, world, redis … or one process: world-0"
    )
    it.add_argument("-n", "--lines", type=tokens.count, default=20, help="last lines of each file first (20)")
    it.add_argument("--once", action="store_true", help="end after them; else go on until Ctrl-C")
    command("drain").add_argument("gateway", metavar="GATEWAY", help="e.g. gateway-0")
    it = command("bots")
    it.add_argument("map", metavar="MAP", type=tokens.name, help="e.g. arena")
    it.add_argument(
        "count", metavar="COUNT", type=tokens.count, help="how many; above some 10,000 the bots are the limit"
    )
    it.add_argument("--seconds", type=float, default=20.0, help="how long they are measured (20)")
    it.add_argument("--json", action="store_true", help="print JSON alone")
    tokens.add_product(it)
    command("reload").add_argument("map", metavar="MAP", type=tokens.name, help="e.g. arena")
    _apikey_arguments(command("apikey"))
    push_arguments(command("push"))
    it = command("user")
    it.add_argument("uid", metavar="UID", type=tokens.name)
    tokens.add_product(it)
    it = command("message")
    it.add_argument("mid", metavar="MID", type=int, help="as a push answered it")
    it.add_argument("--uid", type=tokens.name, help="that receiver alone; of a broadcast the only ones told")
    tokens.add_product(it)
    capacity_arguments(command("capacity"))
    return whole


def _token_arguments(it: argparse.ArgumentParser) -> None:
    it.add_argument("uid", metavar="UID", nargs="+", type=tokens.name, help="a token for each, one a line")
    tokens.add_product(it)
    it.add_argument(
        "--ttl", type=tokens.seconds, default=tokens.DAY, help="90, 15m, 8h, 30d; a day unless given"
    )
    it.add_argument(
        "--rooms",
        type=tokens.rooms,
        metavar="RIGHTS",
        help="'plaza/*=join,publish;plaza/keep.*=join,history', or the claim as JSON; all unless given",
    )
    it.add_argument(
        "--scopes", type=tokens.scopes, metavar="LIST", help="of send,watch,profile,enter; all unless given"
    )
    it.add_argument("--tags", type=tokens.tags, metavar="LIST", help="names for pushes to groups: vip,beta")


def _apikey_arguments(it: argparse.ArgumentParser) -> None:
    it.add_argument("action", nargs="?", choices=("create", "list", "revoke"), default="create")
    it.add_argument("id", metavar="ID", nargs="?", help="which key to revoke: its id, or all of it")
    it.add_argument("--product", type=tokens.name, required=True, help="the one product it is for")
    it.add_argument(
        "--scopes", metavar="LIST", default="", help="of push,read,users,rooms,tasks,layouts,admin"
    )
    it.add_argument("--label", default="", help="who has it, for your own eyes")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; give its exit code: 2 for what the person at the keyboard must change."""
    given = parser().parse_args(arguments)
    try:
        return int(given.function(given))
    except (ConfigError, ValueError) as error:
        print(f"roost: {error}", file=sys.stderr)
        return 2
    except RequestError as error:
        print(f"roost: {error.code}: {error.message}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
