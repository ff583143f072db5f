"""`python -m audit fsck`, `migrate` and `tiles`: what an operator does with the ledger itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

from audit.cli_keys import home_of

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add(commands: Commands, parents: argparse.ArgumentParser) -> None:
    """Adds the commands. What knows a database is imported when one of them runs."""
    text = "check everything that is kept at home, change nothing, and tell what is fine and what is not"
    check = commands.add_parser("fsck", parents=[parents], help=text, description=_sentence(text))
    check.set_defaults(command=_fsck)
    check.add_argument("--tiles", type=Path, metavar="DIR", help="a folder of exported tiles to check too")
    text = "bring a ledger of an older schema to this one, whole or not at all"
    migrating = commands.add_parser("migrate", parents=[parents], help=text, description=_sentence(text))
    migrating.set_defaults(command=_migrate)
    text = "write the log as C2SP tiles into a folder that any static web server can serve"
    exporting = commands.add_parser("tiles", parents=[parents], help=text, description=_sentence(text))
    exporting.set_defaults(command=_tiles)
    exporting.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")


def _fsck(arguments: argparse.Namespace) -> int:
    from audit.cli_log import keys
    from audit.fsck import exit_code, fsck

    findings = []
    for finding in fsck(home_of(arguments), keys(arguments), arguments.tiles):
        findings.append(finding)
        verdict = "ok" if finding.fault is None else type(finding.fault).__name__.upper()
        print(f"{finding.part:<10} {verdict:<12} {finding.note}", flush=True)
    return exit_code(findings)


def _migrate(arguments: argparse.Namespace) -> int:
    from audit.ledgermigrate import migrate
    from audit.ledgertables import SCHEMA_VERSION

    place = home_of(arguments)
    found = migrate(place)
    done = "nothing to do" if found == SCHEMA_VERSION else f"migrated from schema {found}"
    print(f"{place.log_database.where}: schema {SCHEMA_VERSION}, {done}")
    return 0


def _tiles(arguments: argparse.Namespace) -> int:
    from audit.cli_log import keys

    size = home_of(arguments).reader(keys(arguments)).export_tiles(arguments.output)
    print(f"{arguments.output}: serves {size} entries")
    return 0


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."
