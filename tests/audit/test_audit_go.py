"""The exported log, checked by the Go project's own libraries (Debian's golang-golang-x-mod-dev), good and tampered."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from ledger_case import KEY, home_at, stages

from audit.signing import PublicKey

SOURCE = Path(__file__).parents[1] / "gocheck"


@pytest.fixture(scope="module")
def gocheck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The verifier, built with the libraries of the distribution; no network."""
    folder = tmp_path_factory.mktemp("gocheck")
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "GOPATH": "/usr/share/gocode",
        "GO111MODULE": "off",
        "GOFLAGS": "",
    }
    program = folder / "gocheck"
    subprocess.run(["go", "build", "-o", str(program), "."], cwd=SOURCE, env=environment, check=True)
    return program


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 300 entries under five heads, exported as static tiles, its older heads beside them."""
    folder = tmp_path_factory.mktemp("log")
    ledger = home_at(folder / "home").writer()
    for start in range(0, 300, 60):
        ledger.append(stages(*(f"entry {number}" for number in range(start, start + 60))))
    ledger.export_tiles(folder / "static")
    (folder / "static" / "heads").mkdir()
    with ledger.reading() as log:
        for size, note in log.heads():
            (folder / "static" / "heads" / str(size)).write_bytes(note)
    return folder / "static"


def vkey(name: str, key: PublicKey) -> str:
    """The key as C2SP signed-note writes it."""
    return f"{name}+{key.note_key_id(name).hex()}+{base64.b64encode(bytes([1]) + key.raw).decode()}"


def run(gocheck: Path, exported: Path) -> subprocess.CompletedProcess[str]:
    name = (exported / "checkpoint").read_text("utf-8").split("\n")[0]
    command = [str(gocheck), vkey(name, KEY.public), str(exported)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_go_verifies_every_entry_and_every_head(gocheck: Path, exported: Path) -> None:
    done = run(gocheck, exported)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "verified: 300 entries, 6 heads\n"


def flip(name: str, at: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        raw = bytearray((folder / name).read_bytes())
        raw[at] ^= 1
        (folder / name).write_bytes(bytes(raw))

    return change


TAMPERED: dict[str, Callable[[Path], None]] = {
    "a hash of a full tile": flip("tile/0/000", 1000),
    "a hash of a partial tile": flip("tile/0/001.p/44", 10),
    "a hash of an upper tile": flip("tile/1/000.p/1", 3),
    "a byte of an entry": flip("tile/entries/000", 700),
    "a byte of the checkpoint": flip("checkpoint", 40),
    "a byte of an older head": flip("heads/120", 40),
    "a tile deleted": lambda folder: (folder / "tile/0/000").unlink(),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_go_refuses_the_tampered_twin(gocheck: Path, exported: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(exported, tmp_path / "static")
    TAMPERED[name](tmp_path / "static")
    done = run(gocheck, tmp_path / "static")
    assert done.returncode == 1, done.stdout
    assert done.stderr
