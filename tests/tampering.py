"""The tampering vectors: `python -m tests.tampering` makes golden/tampered/<attack>_fail/ anew from the good folder.

With `--good` it makes golden/tampered/good/ first: when the format of bundles changed, and not otherwise.
"""

from __future__ import annotations

import lzma
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


def pack(folder: Path, files: Mapping[str, bytes]) -> None:
    """As `write`, each tar compressed: a hundred near-identical bundles would else weigh ten megabytes."""
    packed = {f"{name}.xz" if name.endswith(".tar") else name: raw for name, raw in files.items()}
    write(folder, {name: lzma.compress(raw) if name.endswith(".xz") else raw for name, raw in packed.items()})


def unpack(folder: Path) -> dict[str, bytes]:
    """The files of a vector's folder, as a reader has them after `xz -d`."""
    held = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {
        name.removesuffix(".xz"): lzma.decompress(raw) if name.endswith(".xz") else raw for name, raw in held.items()
    }


def index() -> bytes:
    """The README of the whole folder."""
    lines = "".join(f"- [{attack.name}]({attack.folder}/README.md): {attack.did}\n" for attack in ATTACKS)
    return f"{INTRODUCTION}\n{lines}".encode()


INTRODUCTION = """\
# Tampering vectors

Each folder holds a bundle that somebody tampered with, and a README: what was done, what for, the command line that
must refuse it, its exit code, and the words it must say; `xz -d *.xz` there first. `good/` holds the bundles they were
all made from, which are accepted, and what a reader has by other ways: the root key, a policy of witnesses, the head
seen last.

Every key is made of a published seed (`tests/attacks/good.py`): good for nothing else. To stay small, the bundles
hold a page of one line in place of verify.html. Nothing here is edited by hand: `python -m tests.tampering` makes the
folders from `good/`, and a test compares them.
"""


def main() -> int:
    """The command."""
    if sys.argv[1:] == ["--good"]:
        from tests.attacks import good as maker  # it needs the ledger's database, as the attacks do not

        write(GOOD, maker.good())
    for stale in TAMPERED.glob("*_fail"):
        shutil.rmtree(stale)
    start = good()
    for attack in ATTACKS:
        pack(TAMPERED / attack.folder, attack.files(start))
    (TAMPERED / "README.md").write_bytes(index())
    print(f"{len(ATTACKS)} attacks in {TAMPERED.relative_to(Path.cwd())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
