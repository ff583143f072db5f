"""`noptik`: one command for all others.

    noptik doctor            may this machine replay?
    noptik audit ...         bundle, verify, replay, prove; keys, witnesses
    noptik registry ...      the curated regime events
    noptik golden ...        committed cases with their expected bytes
    noptik record FORECAST   answers of a language model about a forecast's creatives, kept for ever
    noptik fast FORECAST     what a forecast's media add, in a second and never for release
    noptik where             where the forecasts, reports and the ledger head are

Exit codes: 0 done, 1 not verified, different, refused or withheld, 2 usage or unavailable, 3 within tolerance.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence

COMMANDS: dict[str, tuple[str, str]] = {
    "doctor": ("stages.doctor", "may this machine replay? compares its numeric fingerprint with the committed one"),
    "audit": ("audit.cli", "bundle, verify, replay and prove what the ledger records; keys and witnesses"),
    "registry": ("registry.cli", "the curated registry of regime events"),
    "golden": ("golden.cli", "committed cases: check or update their expected bytes"),
    "record": ("stages.record_creatives", "answers of a language model about a forecast's creatives, once"),
    "fast": ("stages.fast", "what a forecast's media add, in a second: for iteration, never for release"),
    "where": ("stages.where", "where the forecasts, reports and the ledger head are"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Hands the rest of the line to the command named first."""
    listing = "\n".join(f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="noptik",
        description="Marketing forecasts that can be audited.",
        epilog=f"commands:\n{listing}\n\n{__doc__.splitlines()[-1]}" if __doc__ else listing,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="command")
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="what the command takes; try: noptik COMMAND --help")
    arguments = parser.parse_args(argv)
    command: Callable[[Sequence[str]], int] = importlib.import_module(COMMANDS[arguments.command][0]).main
    return command(arguments.rest)


if __name__ == "__main__":
    sys.exit(main())
