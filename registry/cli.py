"""`registry regimes | prompts`: what is declared before it is used, whether it is sound, and since when.

    regimes list | show ID | check | record | timeline
    prompts compile | freeze | check | list | diff

Exit codes: 0 done and sound; 1 the registry is not valid (every fault is printed), or nothing was to be recorded;
2 usage, no such event, or unreadable; 141 the reader of the output left, as `head` does.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from audit.errors import AuditError
from registry import cli_prompts, record, regimes, timeline
from registry import folder as folders
from registry.errors import RegistryError, RegistryUnavailableError
from registry.event import Event
from registry.history import History
from registry.regimes import Registry

UNHEARD = 141  # 128 + SIGPIPE: what a shell says of a command that ends so


def main(argv: Sequence[str]) -> int:
    """The exit code of `argv` (without the program's name); results go to stdout, errors to stderr."""
    try:
        code = _run(argv)
        sys.stdout.flush()
    except BrokenPipeError:
        # what is left unwritten would be tried again, and complained of, when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNHEARD
    return code


def _run(argv: Sequence[str]) -> int:
    try:
        options = _parser().parse_args(argv)
    except SystemExit as error:  # argparse has printed the usage
        return int(error.code or 0)
    try:
        if options.noun == "prompts":
            return cli_prompts.run(options)
        if options.action == "record":
            return _record(options)
        registry = regimes.load(options.folder, options.private)
        if options.action == "timeline":
            return _timeline(registry, options.out)
    except RegistryUnavailableError as error:
        print(f"registry: unavailable: {error}", file=sys.stderr)
        return 2
    except RegistryError as error:
        print(f"registry: not valid:\n{error}", file=sys.stderr)
        return 1
    except AuditError as error:  # an endpoint or its key, as they were named
        print(f"registry: {error}", file=sys.stderr)
        return error.exit_code
    if options.action == "list":
        return _list(registry)
    return _show(registry, options) if options.action == "show" else _check(registry, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="registry", description=__doc__.splitlines()[0])
    nouns = parser.add_subparsers(dest="noun", required=True)
    regime = nouns.add_parser("regimes", help="dated events that can, or only seem to, break a media series")
    regime.add_argument("--folder", type=Path, default=regimes.SHIPPED, help="folder of event files")
    regime.add_argument("--private", type=Path, help="folder of a client's own events, shown beside them")
    actions = regime.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="one line an event")
    actions.add_parser("show", help="everything about one event, and its versions").add_argument("id", metavar="ID")
    actions.add_parser("check", help="exit 1 unless every file, the whole and its history are sound")
    recorded = actions.add_parser("record", help="new and edited events become versions of the history")
    recorded.add_argument("ids", metavar="ID", nargs="*", help="these alone (default: all that were edited)")
    recorded.add_argument("--reason", required=True, help="why, in one line; kept in the history")
    recorded.add_argument("--on", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD", help="day of the edit")
    drawn = actions.add_parser("timeline", help="the events along time: text, or with -o an SVG")
    drawn.add_argument("-o", dest="out", type=Path, metavar="FILE.svg", help="write an SVG there")
    cli_prompts.add(nouns.add_parser("prompts", help="language-model prompts, optimised once and frozen"))
    return parser


def _list(registry: Registry) -> int:
    lines = [
        f"{event.effective}  {event.end or '-'!s:10}  {event.kind:19}  {event.id:32}  "
        f"{','.join(event.regions)}  {','.join(event.channels)}"
        for event in sorted(registry.events, key=lambda event: (event.effective, event.id))
    ]
    print("\n".join(lines))
    return 0


def _show(registry: Registry, options: argparse.Namespace) -> int:
    event = next((event for event in registry.events if event.id == options.id), None)
    if event is None:
        print(f"registry: expected the id of an event (see `regimes list`), found {options.id!r}", file=sys.stderr)
        return 2
    for name, value in event.record().items():
        if name == "sources":
            for source in value:
                print("source: " + "; ".join(str(part) for part in source.values() if part is not None))
        elif value is not None and value is not False:
            print(f"{name}: {', '.join(value) if isinstance(value, list) else value}")
    for history in _histories(options):
        for entry in history.of(event.id):
            print(f"recorded: {entry.date} version {entry.version}: {entry.reason}")
    return 0


def _check(registry: Registry, options: argparse.Namespace) -> int:
    kinds = Counter(event.kind for event in registry.events)
    print(f"{len(registry.events)} events: " + ", ".join(f"{kinds[kind]} {kind}" for kind in sorted(kinds)))
    unsourced = [event.id for event in registry.events if event.unsourced]
    print(f"unsourced: {len(unsourced)}" + (f" ({', '.join(unsourced)})" if unsourced else ""))
    for history in _histories(options):
        print(f"history: {len(history.entries)} versions, head {history.head}")
    print(f"sha256 {registry.digest}")
    if options.private is not None:
        own = Registry(regimes.own(options.folder, options.private))
        print(f"private: {len(own.events)} events, sha256 {own.digest} (detect.registered.private.sha256)")
    return 0


def _histories(options: argparse.Namespace) -> list[History]:
    places = [options.folder, options.private]
    return [folders.read(place).history for place in places if place is not None]


def _record(options: argparse.Namespace) -> int:
    shipped: tuple[Event, ...] = ()
    if options.private is not None:
        shipped = regimes.load(options.folder).events
    place = options.private or options.folder
    lines = record.record(place, options.ids, options.on, options.reason, shipped)
    for line in lines:
        print(f"{line.event} version {line.version}: {line.reason}")
    if not lines:
        print(f"registry: nothing to record: every event of {place} is its latest version", file=sys.stderr)
    return 0 if lines else 1


def _timeline(registry: Registry, out: Path | None) -> int:
    if out is None:
        sys.stdout.write(timeline.text(registry.events))
        return 0
    try:
        out.write_text(timeline.svg(registry.events), "utf-8", newline="\n")
    except OSError as error:
        raise RegistryUnavailableError(f"{out}: expected a file to write, found: {error.strerror}") from error
    return 0
