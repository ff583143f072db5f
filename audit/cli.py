"""`python -m audit`: bundle, verify, replay, show, prove, keys and witnesses, for people. Owner of argv here.

What verifies a bundle needs few packages, so whatever knows a database is imported only by the command that asks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from audit import cli_bundle, cli_checkpoint, cli_fsck, cli_keys, cli_witness
from audit.errors import AuditError

EXIT_CODES = """\
exit codes:
  0  verified; proven; or replayed: identical
  1  tampered: the first thing that is wrong is named; or replayed: different
  2  usage, or unavailable: nothing is known to be wrong, but it could not be checked
  3  replayed: within tolerance
"""
Command = Callable[[argparse.Namespace], int]


def main(argv: Sequence[str] | None = None, prog: str = "python -m audit") -> int:
    """What the command line asks for is done; the exit code. Errors are one line on standard error."""
    arguments = _parser(prog).parse_args(argv)
    command: Command = arguments.command
    try:
        return command(arguments)
    except AuditError as error:
        print(f"{prog}: {type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code


def _places() -> argparse.ArgumentParser:
    """The options that every command has."""
    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--project", type=Path, default=Path(), help="the project's folder (default: here)")
    places.add_argument("--home", type=Path, help="ledger, keys and store (default: $NOPTIK_HOME or PROJECT/.noptik)")
    places.add_argument(
        "--root", type=Path, metavar="KEY", help="what you trust: the root public key (PEM), or a root.json"
    )
    return places


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Check, replay and prove forecasts by their signed record.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    places = _places()

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name,
            parents=[places],
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.set_defaults(command=command)
        return sub

    check = add("verify", _verify, "verify a bundle file, or re-hash everything of a forecast kept at home")
    what = "a bundle, or a forecast kept at home (default: all of them)"
    check.add_argument("what", nargs="?", metavar="FILE|FORECAST", help=what)
    check.add_argument("--stored-only", action="store_true", help="at home: leave the workspace's artifacts/ alone")
    cli_bundle.verify_options(check)
    again = add("replay", _replay, "run a sealed run again from a bundle or from home, and compare every artifact")
    again.add_argument("what", metavar="FILE|FORECAST")
    cli_bundle.replay_options(again)
    listing = add("show", _show, "list the log's entries, runs, specification numbers and head")
    listing.add_argument("forecast", nargs="?", metavar="FORECAST")
    proving = add("prove", _prove, "write the proof that the latest sealed run of a forecast is in the log")
    proving.add_argument("forecast", metavar="FORECAST")
    proving.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="a .tlog-proof file")
    checking = add("check-proof", _check_proof, "check a proof file offline: needs the file and --root, nothing else")
    checking.add_argument("file", type=Path, metavar="FILE")
    for module in (cli_bundle, cli_keys, cli_checkpoint, cli_witness, cli_fsck):
        module.add(commands, places)
    return parser


def is_file(what: str | None) -> bool:
    """Whether `what` names a file rather than a forecast, whose names hold neither dots nor slashes."""
    return what is not None and bool({".", "/"} & set(what))


def _verify(arguments: argparse.Namespace) -> int:
    if is_file(arguments.what):
        return cli_bundle.verify_file(arguments)
    from audit import cli_log

    return cli_log.verify_home(arguments)


def _replay(arguments: argparse.Namespace) -> int:
    return cli_bundle.replay_file(arguments) if is_file(arguments.what) else cli_bundle.replay_home(arguments)


def _show(arguments: argparse.Namespace) -> int:
    from audit import cli_log

    return cli_log.show(arguments)


def _prove(arguments: argparse.Namespace) -> int:
    from audit import cli_log

    return cli_log.prove_run(arguments)


def _check_proof(arguments: argparse.Namespace) -> int:
    from audit import cli_log

    return cli_log.check(arguments)
