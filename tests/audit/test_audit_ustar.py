"""The one form of tar: what another tar program reads, and everything another could hide in one, refused."""

from __future__ import annotations

import io
import os
import random
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from audit.errors import Malformed, Unavailable, Usage
from audit.ustar import BLOCK, END, MAX_FILE_BYTES, Limits, Names, Writer, extract, header, open_tar

FILES = {
    "bag/.hidden": b"h",
    "bag/a-b": b"",
    "bag/a/0": bytes(range(256)) * 40,
    "bag/a/run": b"#!/bin/sh\n",
    "bag/b": b"x" * BLOCK,
    "bag/" + "p" * 90 + "/" + "q" * 99: b"long",
}


def tar_bytes(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    writer = Writer(file)
    for name in sorted(files):
        writer.add(name, len(files[name]), [files[name]], executable=name.endswith("run"))
    writer.close()
    return file.getvalue()


def written(folder: Path, raw: bytes) -> Path:
    path = folder / "file.tar"
    path.write_bytes(raw)
    return path


def names(path: Path) -> list[str]:
    with open_tar(path) as tar:
        return list(tar.members)


def refusal(path: Path) -> str:
    with pytest.raises(Malformed) as error, open_tar(path):
        pass
    return str(error.value)


def test_what_is_written_is_read_back_and_gnu_tar_extracts_the_same(tmp_path: Path) -> None:
    path = written(tmp_path, tar_bytes(FILES))
    umask = os.umask(0o077)
    try:
        with open_tar(path) as tar:
            assert {name: tar.read(name, 10**6) for name in tar.members} == FILES
            extract(tar, tmp_path / "ours", tar.members)
    finally:
        os.umask(umask)
    (tmp_path / "gnu").mkdir()
    subprocess.run(["tar", "-xf", path, "-C", tmp_path / "gnu"], check=True)
    for name, content in FILES.items():
        ours, gnu = tmp_path / "ours" / name, tmp_path / "gnu" / name
        assert ours.read_bytes() == gnu.read_bytes() == content
        assert ours.stat().st_mode & 0o7777 == (0o755 if name.endswith("run") else 0o644)


def test_a_header_is_what_gnu_tar_writes_for_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "name").write_bytes(b"abc")
    nobody = ["--format=ustar", "--numeric-owner", "--owner=0", "--group=0", "--mtime=@0", "--mode=0644"]
    theirs = subprocess.run(["tar", *nobody, "-cf", "-", "name"], cwd=tmp_path, check=True, capture_output=True).stdout
    assert header("name", 3, executable=False) == theirs[:BLOCK]


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1])
def test_contents_of_any_size_are_padded_to_whole_blocks_with_zeros(tmp_path: Path, size: int) -> None:
    raw = tar_bytes({"f": b"\xff" * size})
    assert len(raw) % BLOCK == 0
    with open_tar(written(tmp_path, raw)) as tar:
        assert tar.read("f", size) == b"\xff" * size


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../up", "a/../b", "./a", "a//b", "a/", "a\\b", "a\0b", "ä", "a b", "a\n", "C:x"]
)
def test_names_that_lead_elsewhere_or_mean_different_things_are_neither_written_nor_read(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(Usage, match="name not allowed"):
        tar_bytes({name: b""})
    raw = bytearray(header("x" * len(name.encode()), 0, executable=False))
    raw[: len(name.encode())] = name.encode()
    raw[148:156] = b"%06o\0 " % sum(raw[:148] + b" " * 8 + raw[156:])
    assert "name" in refusal(written(tmp_path, bytes(raw) + END))


@pytest.mark.parametrize(
    ("first", "second"),
    [("a", "a"), ("b", "a"), ("A", "a"), ("F/x", "f/y"), ("a", "a/b"), ("Dir/file", "dir/file")],
)
def test_a_name_twice_out_of_order_or_alike_in_another_case_is_refused(tmp_path: Path, first: str, second: str) -> None:
    raw = header(first, 0, executable=False) + header(second, 0, executable=False) + END
    assert "name not allowed" in refusal(written(tmp_path, raw))


def test_the_longest_names_fit_and_longer_ones_are_a_clear_error() -> None:
    for name in ("n" * 100, "p" * 155 + "/" + "n" * 100):
        assert len(header(name, 0, executable=False)) == BLOCK
    for name in ("n" * 101, "p" * 156 + "/" + "n" * 100, "p" * 155 + "/" + "n" * 101, "p/" * 200 + "n"):
        with pytest.raises(Usage, match="too long"):
            header(name, 0, executable=False)
    with pytest.raises(Usage, match="too large"):
        header("n", MAX_FILE_BYTES + 1, executable=False)


def link(info: tarfile.TarInfo) -> None:
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"


def hard_link(info: tarfile.TarInfo) -> None:
    info.type, info.linkname = tarfile.LNKTYPE, "other"


def of_type(kind: bytes) -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        info.type = kind

    return change


def facts(**values: object) -> Callable[[tarfile.TarInfo], None]:
    def change(info: tarfile.TarInfo) -> None:
        for field, value in values.items():
            setattr(info, field, value)

    return change


@pytest.mark.parametrize(
    "change",
    [
        link,
        hard_link,
        of_type(tarfile.CHRTYPE),
        of_type(tarfile.BLKTYPE),
        of_type(tarfile.FIFOTYPE),
        of_type(tarfile.DIRTYPE),
        of_type(tarfile.CONTTYPE),
        of_type(tarfile.AREGTYPE),
        of_type(tarfile.GNUTYPE_SPARSE),
        of_type(b"x"),
        of_type(b"L"),
        facts(uid=1000),
        facts(uname="someone"),
        facts(mtime=1),
        facts(mode=0o4755),
        facts(mode=0o777),
    ],
)
def test_links_devices_and_every_other_kind_of_header_are_refused(
    tmp_path: Path, change: Callable[[tarfile.TarInfo], None]
) -> None:
    info = tarfile.TarInfo("bag/name")
    change(info)
    raw = info.tobuf(tarfile.USTAR_FORMAT) + END
    message = refusal(written(tmp_path, raw))
    assert "bag/name" in message
    assert "at byte 0:" in message


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_pax_and_gnu_extensions_are_refused(tmp_path: Path, form: int) -> None:
    raw = tarfile.TarInfo("n" * 200).tobuf(form) + END
    assert "header field" in refusal(written(tmp_path, raw))


def test_every_flipped_bit_of_structure_is_refused_and_of_contents_changes_them(tmp_path: Path) -> None:
    raw = tar_bytes({"bag/a": b"one", "bag/b": b"two"})
    for place in random.Random(7).sample(range(len(raw) * 8), 400):
        flipped = bytearray(raw)
        flipped[place // 8] ^= 1 << place % 8
        try:
            with open_tar(written(tmp_path, bytes(flipped))) as tar:
                found = {name: tar.read(name, 10**6) for name in tar.members}
        except Malformed:
            continue
        assert sorted(found) == ["bag/a", "bag/b"]
        assert found != {"bag/a": b"one", "bag/b": b"two"}


def test_every_truncation_and_every_addition_is_refused(tmp_path: Path) -> None:
    raw = tar_bytes({"bag/a": b"one", "bag/b": b"two" * 300})
    for size in [*range(0, len(raw), 97), len(raw) - 1]:
        assert refusal(written(tmp_path, raw[:size]))
    for more in (b"\0", bytes(BLOCK), raw, b"x"):
        assert "does not end here" in refusal(written(tmp_path, raw + more))


@pytest.mark.parametrize("limits", [Limits(members=1), Limits(file_bytes=2), Limits(total_bytes=5)])
def test_more_or_larger_members_than_allowed_are_refused(tmp_path: Path, limits: Limits) -> None:
    path = written(tmp_path, tar_bytes({"a": b"one", "b": b"two"}))
    with pytest.raises(Malformed, match="tar too large"), open_tar(path, limits):
        pass


def test_a_declared_size_of_eight_gigabytes_costs_nothing(tmp_path: Path) -> None:
    raw = header("bomb", MAX_FILE_BYTES, executable=False) + END
    assert "cut short" in refusal(written(tmp_path, raw))


def test_contents_of_another_size_than_announced_are_not_written() -> None:
    with pytest.raises(Usage, match="changed while"):
        Writer(io.BytesIO()).add("a", 2, [b"one"])


def test_a_tar_replaced_after_it_was_opened_is_still_read_from_the_one_that_was_checked(tmp_path: Path) -> None:
    path = written(tmp_path, tar_bytes({"a": b"checked"}))
    other = tmp_path / "other.tar"
    other.write_bytes(tar_bytes({"a": b"swapped"}))
    with open_tar(path) as tar:
        other.rename(path)
        assert tar.read("a", 100) == b"checked"


def test_a_tar_cut_while_it_is_read_is_unavailable(tmp_path: Path) -> None:
    path = written(tmp_path, tar_bytes({"a": b"c" * 3000}))
    with open_tar(path) as tar:
        os.truncate(path, 1000)
        with pytest.raises(Unavailable, match="cut short"):
            tar.read("a", 10**6)


def test_nothing_is_extracted_through_a_folder_swapped_for_a_link(tmp_path: Path) -> None:
    path = written(tmp_path, tar_bytes({"bag/d/a": b"1", "bag/e": b"2"}))
    outside = tmp_path / "outside"
    outside.mkdir()
    with open_tar(path) as tar:

        class Swapping:
            members = tar.members
            where = tar.where

            def chunks(self, name: str) -> object:
                if name == "bag/d/a":  # between this file and the next, somebody swaps the parent
                    (tmp_path / "out" / "bag").rename(tmp_path / "out" / "moved")
                    (tmp_path / "out" / "bag").symlink_to(outside)
                return tar.chunks(name)

        extract(Swapping(), tmp_path / "out", tar.members)  # type: ignore[arg-type]
    assert list(outside.iterdir()) == []
    assert (tmp_path / "out" / "moved" / "e").read_bytes() == b"2"


def test_an_existing_folder_is_never_extracted_into(tmp_path: Path) -> None:
    path = written(tmp_path, tar_bytes({"a": b""}))
    with open_tar(path) as tar, pytest.raises(Usage, match="already there"):
        extract(tar, tmp_path, tar.members)


def test_a_link_or_a_folder_is_no_tar(tmp_path: Path) -> None:
    path = written(tmp_path, tar_bytes({"a": b""}))
    (tmp_path / "link.tar").symlink_to(path)
    for wrong in (tmp_path / "link.tar", tmp_path, Path("/dev/null")):
        with pytest.raises(Malformed), open_tar(wrong):
            pass


def test_a_member_larger_than_the_caller_expects_is_refused_with_its_place(tmp_path: Path) -> None:
    with (
        open_tar(written(tmp_path, tar_bytes({"a": b"12345"}))) as tar,
        pytest.raises(Malformed, match=r"at byte 512: a: file too large"),
    ):
        tar.read("a", 4)


def test_names_are_taken_in_the_order_of_their_bytes() -> None:
    taken = Names()
    assert [taken.claim(name) for name in ("a-b", "a.b", "a/b", "a0")] == ["", "", "", ""]
    assert "a name after a0" in taken.claim("a/c")
