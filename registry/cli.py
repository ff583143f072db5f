"""`registry regimes list | show ID | check`: what is declared, and whether it is sound.

Exit codes: 0 done and sound; 1 the registry is not valid (every fault is printed); 2 usage, no such
event, or unreadable.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from registry import regimes
from registry.errors import RegistryError, RegistryUnavailableError


def main(argv: Sequence[str]) -> int:
    """The exit code of `argv` (without the program's name); results go to stdout, errors to stderr."""
    try:
        options = _parser().parse_args(argv)
    except SystemExit as error:  # argparse has printed the usage
        return int(error.code or 0)
    try:
        registry = regimes.load(options.folder)
    except RegistryUnavailableError as error:
        print(f"registry: unavailable: {error}", file=sys.stderr)
        return 2
    except RegistryError as error:
        print(f"registry: not valid:\n{error}", file=sys.stderr)
        return 1
    if options.action == "list":
        return _list(registry)
    return _show(registry, options.id) if options.action == "show" else _check(registry)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="registry", description=__doc__.splitlines()[0])
    nouns = parser.add_subparsers(dest="noun", required=True)
    regime = nouns.add_parser("regimes", help="dated events that can, or only seem to, break a media series")
    regime.add_argument("--folder", type=Path, default=regimes.SHIPPED, help="folder of event files")
    actions = regime.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="one line an event")
    actions.add_parser("show", help="everything about one event").add_argument("id", metavar="ID")
    actions.add_parser("check", help="exit 1 unless every file and the whole are sound")
    return parser


def _list(registry: regimes.Registry) -> int:
    lines = [
        f"{event.effective}  {event.end or '-'!s:10}  {event.kind:19}  {event.id:30}  "
        f"{','.join(event.regions)}  {','.join(event.channels)}"
        for event in sorted(registry.events, key=lambda event: (event.effective, event.id))
    ]
    print("\n".join(lines))
    return 0


def _show(registry: regimes.Registry, wanted: str) -> int:
    event = next((event for event in registry.events if event.id == wanted), None)
    if event is None:
        print(f"registry: expected the id of an event (see `regimes list`), found {wanted!r}", file=sys.stderr)
        return 2
    for name, value in event.record().items():
        if name == "sources":
            for source in value:
                print("source: " + "; ".join(str(part) for part in source.values() if part is not None))
        elif value is not None and value is not False:
            print(f"{name}: {', '.join(value) if isinstance(value, list) else value}")
    return 0


def _check(registry: regimes.Registry) -> int:
    kinds = Counter(event.kind for event in registry.events)
    print(f"{len(registry.events)} events: " + ", ".join(f"{kinds[kind]} {kind}" for kind in sorted(kinds)))
    print(f"unsourced: {sum(event.unsourced for event in registry.events)}")
    print(f"sha256 {registry.digest}")
    return 0
