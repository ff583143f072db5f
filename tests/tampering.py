"""The tampering vectors: `python -m tests.tampering` makes golden/tampered/<attack>_fail/ anew from the good folder.

With `--good` it makes golden/tampered/good/ first: when the format of bundles changed, and not otherwise.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.attacks.attack import Attack, Good
from tests.attacks.files import FILES
from tests.attacks.history import HISTORY
from tests.attacks.keys import KEYS
from tests.attacks.names import NAMES
from tests.attacks.run import TAMPERED
from tests.attacks.statements import STATEMENTS
from tests.taken import Taken

ATTACKS: tuple[Attack, ...] = (*FILES, *NAMES, *HISTORY, *STATEMENTS, *KEYS)
GOOD = TAMPERED / "good"


def good() -> Good:
    """The committed good folder."""
    files = {path.name: path.read_bytes() for path in GOOD.iterdir()}
    bundle, older, small = (Taken.apart(GOOD / f"{name}.tar") for name in ("bundle", "older", "small"))
    return Good(bundle, older, small, files)


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Afterwards the folder holds these files and no others."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, raw in files.items():
        (folder / name).write_bytes(raw)


def main() -> int:
    """The command."""
    if sys.argv[1:] == ["--good"]:
        from tests.attacks import good as maker  # it needs the ledger's database, as the attacks do not

        write(GOOD, maker.good())
    for stale in TAMPERED.glob("*_fail"):
        shutil.rmtree(stale)
    start = good()
    for attack in ATTACKS:
        write(TAMPERED / attack.folder, attack.files(start))
    print(f"{len(ATTACKS)} attacks in {TAMPERED.relative_to(Path.cwd())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
