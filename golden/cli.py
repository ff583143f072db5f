"""`noptik golden`: committed cases, run again and compared byte for byte with what they must give.

    check      run the cases here; exit 0 equal, 1 different
    update     make what a run gives here the expected bytes, and say why in golden/CHANGES.md
    vary       check under variations that must not matter: folder, user, time zone, cores, hostile settings ...
    emulate    check the smallest case on an emulated CPU

Exit codes: 0 equal (or updated), 1 different, 2 usage or unavailable.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from audit.digest import dir_hash
from audit.errors import AuditError, Unavailable, Usage
from engine import precision
from engine.errors import EngineError
from golden import changes, emulate, forecast, vary, verdict
from golden.case import Case, How
from golden.changes import Change
from golden.compare import differences
from registry.errors import RegistryError
from stages.stage import failure, into_profile, worker_count

EQUAL, DIFFERENT, UNAVAILABLE = 0, 1, 2
CASES = (
    Case("national", forecast.produce),
    Case("break", forecast.produce),
    Case("geo", forecast.produce),
    Case("detection", verdict.produce),
)
NAMES = tuple(case.name for case in CASES)


def main(argv: Sequence[str]) -> int:
    """Does what `argv` says; the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "vary":
            return vary.vary(tuple(arguments.only))
        if arguments.command == "emulate":
            return emulate.emulate(arguments.cpu, arguments.case or (emulate.SMALLEST,))
        if arguments.command == "update" and not arguments.reason.strip():
            raise Usage("update needs a reason", "--reason", "why the bytes change", "nothing")
        into_profile(["-m", "golden", *argv])
        chosen = [case for case in CASES if case.name in (arguments.case or NAMES)]
        if arguments.command == "update":
            return _update(chosen, arguments)
        return _check(chosen, arguments)
    except RegistryError as error:
        print(f"error: {error}", file=sys.stderr)
        return UNAVAILABLE
    except (AuditError, EngineError) as error:
        return failure(error)


def _check(chosen: Sequence[Case], arguments: argparse.Namespace) -> int:
    code = EQUAL
    for case in chosen:
        if not case.expected.is_dir():
            raise Unavailable("no expected bytes: `python -m golden update` makes them", case.expected)
        start = monotonic()
        with _found(case, arguments) as found:
            unequal = differences(case.expected, found)
        print(f"{case.name:<10} {'different' if unequal else 'equal':<10} {monotonic() - start:.0f} s", flush=True)
        for difference in unequal:
            code = DIFFERENT
            print(f"  {difference}", flush=True)
    return code


def _update(chosen: Sequence[Case], arguments: argparse.Namespace) -> int:
    changed = []
    for case in chosen:
        before = dir_hash(case.expected) if case.expected.is_dir() else changes.NONE
        with _found(case, arguments) as found:
            after = dir_hash(found)
            if after != before:
                shutil.rmtree(case.expected, ignore_errors=True)
                shutil.copytree(found, case.expected)
                changed.append(Change(case.name, before, after))
    if not changed:
        raise Usage("nothing changed, so there is nothing to give a reason for", "golden update")
    changes.append(arguments.reason, changed)
    for change in changed:
        print(f"{change.case:<10} {change.before} -> {change.after}")
    return EQUAL


@contextmanager
def _found(case: Case, arguments: argparse.Namespace) -> Iterator[Path]:
    """What a run of `case` leaves, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="noptik-golden-") as folder:
        work = Path(folder)
        cache = None if arguments.no_cache else arguments.cache or work / "jax-cache"
        if cache is not None:
            precision.compilation_cache(cache)
        workers = worker_count() if arguments.workers is None else arguments.workers
        yield case.run(work / case.name, How(workers, cache, arguments.backwards))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="noptik golden",
        description="Committed cases, run again and compared byte for byte with what they must give.",
        epilog="exit codes: 0 equal (or updated), 1 different, 2 usage or unavailable",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="run the cases and compare every byte")
    update = commands.add_parser("update", help="make what a run gives here the expected bytes")
    update.add_argument("--reason", required=True, help="why the bytes change; kept in golden/CHANGES.md")
    for command in (check, update):
        _add_how(command)
    varied = commands.add_parser("vary", help="check under variations that must not matter")
    varied.add_argument(
        "--only", action="append", default=[], choices=vary.NAMES, help="this variation alone (may be repeated)"
    )
    emulated = commands.add_parser("emulate", help="check on an emulated CPU (Debian: qemu-user)")
    emulated.add_argument("--cpu", default="Haswell", help="as `qemu-x86_64 -cpu help` names it (default: Haswell)")
    _add_case(emulated)
    return parser


def _add_how(command: argparse.ArgumentParser) -> None:
    _add_case(command)
    command.add_argument("--workers", type=_count, help="processes; 0: all in this one (default: one a core)")
    cache = command.add_mutually_exclusive_group()
    cache.add_argument("--cache", type=Path, help="keep compiled programs in this folder (default: a fresh one)")
    cache.add_argument("--no-cache", action="store_true", help="keep no compiled programs, not even for the run")
    command.add_argument("--backwards", action="store_true", help="lay the case's files out in reverse order")


def _add_case(command: argparse.ArgumentParser) -> None:
    command.add_argument("--case", action="append", choices=NAMES, help="this case alone (may be repeated)")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 3):
        raise argparse.ArgumentTypeError(f"expected a number of processes, found {text!r}")
    return int(text)
