"""Fuzz targets: files that hold files. They are read from disk, as a stranger's would be."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from audit import age, ustar
from audit.bundleverify import verify_bundle
from audit.errors import AuditError, Malformed
from audit.root import Anchor
from tests.fuzz.texts import KEY
from tests.taken import Taken

IDENTITY = "AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SWRYDWG"  # 32 bytes: 0 to 31
GOOD = Taken.apart(Path(__file__).parents[2] / "golden" / "tampered" / "good" / "bundle.tar")
_FOLDER = tempfile.TemporaryDirectory(prefix="noptik-fuzz-")


def _file(name: str, raw: bytes) -> Path:
    path = Path(_FOLDER.name) / name
    path.write_bytes(raw)
    return path


def tar(raw: bytes) -> None:
    """A ustar file, as it is and with its checksums put right; one that is accepted is written back as it was."""
    for data in (_with_checksums(raw), raw):
        try:
            _tar(data)
        except Malformed:
            if data is raw:
                raise


def _tar(raw: bytes) -> None:
    with ustar.open_tar(_file("a.tar", raw)) as opened:
        again = io.BytesIO()
        writer = ustar.Writer(again)
        for name, member in opened.members.items():
            contents = opened.read(name, 2**20)
            assert len(contents) == member.size
            writer.add(name, member.size, [contents], executable=member.executable)
        writer.close()
    assert again.getvalue() == raw


def _with_checksums(raw: bytes) -> bytes:
    blocks = [raw[i : i + ustar.BLOCK] for i in range(0, len(raw), ustar.BLOCK)]
    return b"".join(
        b[:148] + b"%06o\0 " % sum(b[:148] + b" " * 8 + b[156:]) + b[156:] if b[257:262] == b"ustar" else b
        for b in blocks
    )


def edited_bundle(raw: bytes) -> None:
    """A whole bundle after the edits that `raw` says, listed and signed again: as if the log's key were stolen.

    An edit is five bytes, file, what to do, place (2) and length, and as many bytes as it says.
    """
    files = dict(GOOD.files)
    for file, action, place, data in _edits(raw):
        name = sorted(GOOD.files)[file % len(GOOD.files)]
        old = files.get(name, b"")
        match action % 5:
            case 0:
                files[name] = old[:place] + data + old[place + len(data) :]
            case 1:
                files[name] = old[:place] + data + old[place:]
            case 2:
                files[name] = old[:place] + old[place + len(data) :]
            case 3:
                files.pop(name, None)
            case 4:
                files[f"data/{data.hex()}"] = files[name] = files.get(sorted(GOOD.files)[place % len(GOOD.files)], b"")
    path = _file("bundle.tar", replace(GOOD, files=files).signed(KEY).tar())
    verify_bundle(path, Anchor(GOOD.files["data/trust/1.root.json"]))


def _edits(raw: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    while len(raw) >= 5:
        place, end = int.from_bytes(raw[2:4], "big"), 5 + raw[4]
        yield raw[0], raw[1], place, raw[5:end]
        raw = raw[end:]


def age_file(raw: bytes) -> None:
    """An age file; a damaged one leaves nothing behind."""
    whole = Path(_FOLDER.name) / "whole"
    whole.unlink(missing_ok=True)
    try:
        age.decrypt(_file("a.age", raw), whole, _file("identity", IDENTITY.encode()))
    except AuditError:
        assert not whole.exists()
        raise
