"""A seeded sweep over the whole of a good bundle: no changed bit, no cut, doubled or exchanged bytes go unnoticed.

Each change goes through `verify_bundle`, as the command line calls it. A flipped bit must be answered with the name of
the file whose bytes, header or padding it lies in. The other changes move what comes after them: they must be answered
with a file that they touch, or the one at which the tar's structure breaks, by its name or by its place in the tar.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from audit import ustar
from audit.bundleverify import verify_bundle
from audit.errors import Tampered
from audit.root import Anchor
from tests.attacks.good import ROOT
from tests.attacks.run import run
from tests.tampering import GOOD

SEED = 20240101
COUNTS = {"flip": 1500, "delete": 300, "truncate": 300, "duplicate": 300, "swap": 300}
BLOCK, END = ustar.BLOCK, len(ustar.END)
RAW = (GOOD / "bundle.tar").read_bytes()
ANCHOR = Anchor(ROOT.public)
PLACE = re.compile(r"\bbyte (\d+)")


@dataclass(frozen=True)
class Region:
    """Bytes `start` to `stop` of the tar: the header, the contents or the padding of the file `name`, or the end."""

    kind: str
    name: str
    start: int
    stop: int


@dataclass(frozen=True)
class Change:
    """What is done at byte `at`, in `region`; `size` bytes are taken, doubled or exchanged with those behind them."""

    kind: str
    at: int
    size: int
    bit: int
    region: Region

    def apply(self) -> bytes:
        """The changed tar."""
        at, end = self.at, self.at + self.size
        match self.kind:
            case "flip":
                return RAW[:at] + bytes([RAW[at] ^ 1 << self.bit]) + RAW[at + 1 :]
            case "delete":
                return RAW[:at] + RAW[end:]
            case "truncate":
                return RAW[:at]
            case "duplicate":
                return RAW[:end] + RAW[at:]
            case _:
                return RAW[:at] + RAW[end : end + self.size] + RAW[at:end] + RAW[end + self.size :]

    def rightly_named(self, error: Tampered) -> bool:
        """Whether the error names what the change is to be told by."""
        if self.kind == "flip" and self.region.kind == "contents":
            return error.where == self.region.name
        low, high = self.at, self.at + (1 if self.kind == "flip" else 2 * self.size)
        around = [r for r in REGIONS if r.start < high + END and r.stop > low - END]
        if self.kind == "flip":
            around = [r for r in around if r.name == self.region.name]
        names = {region.name for region in around}
        places = {place for region in around for place in (region.start, region.stop)}
        found = PLACE.search(error.where)
        return any(name in error.where for name in names) or (found is not None and int(found[1]) in places)


def regions() -> list[Region]:
    """The whole tar, byte for byte, each file by its name below the bundle's folder."""
    found = []
    with ustar.open_tar(GOOD / "bundle.tar") as tar:
        for member in tar.members.values():
            name, end = member.name.partition("/")[2], member.offset + member.size
            found.append(Region("header", name, member.offset - BLOCK, member.offset))
            found.append(Region("contents", name, member.offset, end))
            found.append(Region("padding", name, end, end + -member.size % BLOCK))
    found = [region for region in found if region.start < region.stop]
    return [*found, Region("end", found[-1].name, found[-1].stop, len(RAW))]


REGIONS = regions()


def changes() -> Iterator[Change]:
    """So many of each kind: half of them anywhere in the tar, half in each kind of region alike."""
    draw = random.Random(SEED)
    kinds = sorted({region.kind for region in REGIONS})
    for kind, count in COUNTS.items():
        made = 0
        while made < count:
            wanted = draw.choice(kinds) if made % 2 else None
            some = [region for region in REGIONS if wanted in (None, region.kind)]
            (region,) = draw.choices(some, [region.stop - region.start for region in some])
            at, size = draw.randrange(region.start, region.stop), draw.choice((1, 7, BLOCK))
            change = Change(kind, at, size, draw.randrange(8), region)
            if change.apply() != RAW:  # zeros exchanged with zeros are no change
                made += 1
                yield change


def fault(change: Change, path: Path) -> str:
    """Why the change is not told as it must be; '' if it is."""
    path.write_bytes(change.apply())
    try:
        verify_bundle(path, ANCHOR)
    except Tampered as error:
        return "" if change.rightly_named(error) else f"{change}: named otherwise: {error}"
    return f"{change}: accepted"


def test_the_regions_cover_the_tar_without_a_gap() -> None:
    assert [region.start for region in REGIONS] == [0, *(region.stop for region in REGIONS[:-1])]
    assert REGIONS[-1].stop == len(RAW)
    assert {region.kind for region in REGIONS} == {"header", "contents", "padding", "end"}


def test_every_change_is_detected_and_names_the_right_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, faults = Counter[tuple[str, str]](), []
    for change in changes():
        made[change.kind, change.region.kind] += 1
        if found := fault(change, tmp_path / "bundle.tar"):
            faults.append(found)
    with capsys.disabled():
        print(f"\nsweep: {sum(made.values())} changes, {len(faults)} not told rightly")
        for (kind, region), count in sorted(made.items()):
            print(f"  {kind:10} {region:9} {count:5}")
    assert sum(made.values()) == sum(COUNTS.values()) >= 2000
    assert faults == []


@pytest.mark.parametrize("kind", COUNTS)
def test_a_few_of_them_through_the_command_line(kind: str, tmp_path: Path) -> None:
    change = next(change for change in changes() if change.kind == kind and change.region.kind == "contents")
    done = run("verify bundle.tar --root ../good/root.pem", {"bundle.tar": change.apply()}, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.count("\n") == 1
