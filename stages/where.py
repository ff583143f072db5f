"""`noptik where`: what `make repro` ends with: the forecasts, their reports, and the head of the ledger."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from audit.errors import AuditError
from audit.home import Home
from engine.errors import EngineError
from stages.record import Record
from stages.stage import failure, installed, load_params


def main(argv: Sequence[str]) -> int:
    """Prints the paths; 1 when a forecast was withheld, 2 when there is none yet."""
    argparse.ArgumentParser(prog="noptik where", description=__doc__).parse_args(argv)
    root = Path.cwd()
    try:
        withheld = [name for name in load_params(root)["forecasts"] if not _tell(root, name)]
        place = installed(root)
        with Home(place.home, place.database).reader().trusted() as log:
            head = log.head
            key = log.keys.span(head.size).key
    except (AuditError, EngineError) as error:
        return failure(error)
    except FileNotFoundError as error:
        print(f"no forecast yet: {error.filename}; run `make repro`")
        return 2
    print(f"ledger   {head.origin}, {head.size} entries, root {head.root.hex()}")
    print(f"         key {key.key_id}")
    return 1 if withheld else 0


def _tell(root: Path, name: str) -> bool:
    folder = root / "artifacts" / name
    record = Record.model_validate_json((folder / "forecast" / "record.json").read_bytes())
    table = folder / "forecast" / "forecast.parquet"
    said = str(table) if record.released else f"withheld: failed gates {', '.join(record.failed_gates)}"
    print(f"{name:<8} forecast {said}")
    print(f"{'':<8} report   {folder / 'report' / 'report.html'}")
    return record.released
