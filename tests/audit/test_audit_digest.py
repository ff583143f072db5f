"""Laws of digests: equal to coreutils, blind to everything but names and bytes, and no file passed over."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit import digest
from audit.errors import Malformed, Unavailable

PIPELINE = "find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum"
PART = st.from_regex(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,5}", fullmatch=True).filter(lambda s: s not in (".", ".."))
TREES = st.dictionaries(st.lists(PART, min_size=1, max_size=4).map("/".join), st.binary(max_size=30), max_size=8)


def coreutils(path: Path) -> str:
    done = subprocess.run(["sh", "-c", PIPELINE], cwd=path, capture_output=True, check=True, text=True)
    return done.stdout.split()[0]


def plant(root: Path, tree: dict[str, bytes]) -> None:
    root.mkdir()
    for name, data in tree.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    plant(root, {"a/b": b"1", "a.b": b"2", "a-b": b"3", "A": b"4", "a/c/.zarr": b"", "_": b"5", "0": b"6"})
    return root


def test_dir_hash_is_what_coreutils_compute(tree: Path) -> None:
    assert digest.dir_hash(tree) == coreutils(tree)


def test_dir_hash_of_nothing_is_what_coreutils_compute(tmp_path: Path) -> None:
    assert digest.dir_hash(tmp_path) == coreutils(tmp_path) == hashlib.sha256(b"").hexdigest()


@settings(deadline=None, max_examples=40, derandomize=True)
@given(TREES)
def test_dir_hash_of_any_tree_is_what_coreutils_compute(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, bytes]
) -> None:
    files = {name: data for name, data in tree.items() if not any(o.startswith(f"{name}/") for o in tree)}
    root = tmp_path_factory.mktemp("any") / "tree"
    plant(root, files)
    found = digest.digest_path(root)
    assert found.sha256 == digest.dir_hash(root) == coreutils(root)
    assert found.size == sum(map(len, files.values()))
    assert [(e.name, e.sha256, e.size) for e in found.files] == [
        (name, digest.sha256(data), len(data)) for name, data in sorted(files.items())
    ]


def test_only_names_and_bytes_count(tree: Path, tmp_path: Path) -> None:
    before = digest.digest_path(tree)
    for file in sorted(tree.rglob("*")):
        os.utime(file, (0, 0))
        file.chmod(0o700)
    (tree / "empty").mkdir()
    moved = tree.rename(tmp_path / "elsewhere")
    assert digest.digest_path(moved) == before


def test_every_byte_and_name_counts(tree: Path) -> None:
    before = digest.dir_hash(tree)
    (tree / "a" / "b").write_bytes(b"2")
    changed = digest.dir_hash(tree)
    (tree / "a" / "b").write_bytes(b"1")
    (tree / "A").rename(tree / "B")
    renamed = digest.dir_hash(tree)
    (tree / "B").rename(tree / "A")
    (tree / "new").touch()
    grown = digest.dir_hash(tree)
    (tree / "new").unlink()
    assert len({before, changed, renamed, grown}) == 4
    assert digest.dir_hash(tree) == before


def test_a_file_is_its_own_manifest(tmp_path: Path) -> None:
    file = tmp_path / "forecast.parquet"
    file.write_bytes(b"abc")
    expected = hashlib.sha256(b"abc").hexdigest()
    assert digest.sha256_file(file) == digest.sha256(b"abc") == expected
    entry = digest.Entry("forecast.parquet", expected, 3)
    assert digest.digest_path(file) == digest.Digest("file", expected, 3, (entry,))
    assert digest.manifest(file) == (entry,)


def test_a_manifest_is_the_input_of_sha256sum_check(tree: Path) -> None:
    lines = "".join(f"{entry.sha256}  {entry.name}\n" for entry in digest.manifest(tree))
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet"], cwd=tree, input=lines, check=True, text=True)


@pytest.mark.parametrize("name", ["a b", "a\nb", "é", "a\\b", "a'b", "a*", "\udcff", "-v", "-"])
@pytest.mark.parametrize("kind", ["file", "dir"])
def test_names_that_tools_read_differently_are_refused(tmp_path: Path, name: str, kind: str) -> None:
    if kind == "dir":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").touch()
    else:
        (tmp_path / name).touch()
        with pytest.raises(Malformed, match="file name not allowed"):
            digest.digest_path(tmp_path / name)
    with pytest.raises(Malformed, match="file name not allowed"):
        digest.dir_hash(tmp_path)


def test_a_leading_hyphen_is_harmless_below_the_top(tmp_path: Path) -> None:
    plant(tmp_path / "t", {"a/-v": b"x"})
    assert digest.dir_hash(tmp_path / "t") == coreutils(tmp_path / "t")


def test_symbolic_links_are_refused_wherever_they_lead(tree: Path, tmp_path: Path) -> None:
    for target in (tree / "A", tree / "a", tmp_path / "nowhere"):
        link = tree / "a" / "link"
        link.symlink_to(target)
        for measure in (digest.dir_hash, digest.manifest, digest.digest_path):
            with pytest.raises(Malformed, match="symbolic link"):
                measure(tree)
        for measure in (digest.sha256_file, digest.digest_path):
            with pytest.raises(Malformed, match="symbolic link"):
                measure(link)
        with pytest.raises(Malformed, match="not a directory"):
            digest.dir_hash(link)
        link.unlink()


def test_special_files_are_refused_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name in ("pipe", "socket"):
            with pytest.raises(Malformed):
                digest.digest_path(tmp_path / name)
    (tmp_path / "socket").unlink()
    with pytest.raises(Malformed, match="not a regular file"):
        digest.dir_hash(tmp_path)
    with pytest.raises(Malformed, match="not a regular file"):
        digest.sha256_file(Path("/dev/zero"))


def test_what_is_missing_is_unavailable_not_tampered(tmp_path: Path) -> None:
    for measure in (digest.sha256_file, digest.dir_hash, digest.manifest, digest.digest_path):
        with pytest.raises(Unavailable):
            measure(tmp_path / "missing")
        with pytest.raises(Unavailable):
            measure(tmp_path / ("x" * 300))


def test_too_many_levels_are_refused(tmp_path: Path) -> None:
    deep = tmp_path.joinpath("t", *["d"] * (digest.MAX_LEVELS - 1))
    deep.mkdir(parents=True)
    (deep / "f").touch()
    assert digest.dir_hash(tmp_path / "t") == coreutils(tmp_path / "t")
    (deep / "d").mkdir()
    with pytest.raises(Malformed, match="nested too deeply"):
        digest.dir_hash(tmp_path / "t")


def test_a_file_written_while_it_is_hashed_has_no_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "growing"
    file.write_bytes(b"x")
    real = os.read

    def read(fd: int, n: int) -> bytes:
        if file.stat().st_size == 1:
            file.write_bytes(b"xy")
        return real(fd, n)

    monkeypatch.setattr(os, "read", read)
    with pytest.raises(Unavailable, match="changed while it was hashed"):
        digest.sha256_file(file)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "large"
    with file.open("wb") as writer:
        writer.truncate(64 * 2**20)
    tracemalloc.start()
    try:
        found = digest.digest_path(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.size == 64 * 2**20
    assert found.sha256 == coreutils(tmp_path)
    assert peak < 4 * 2**20


def test_no_descriptor_is_left_open(tree: Path) -> None:
    (tree / "a" / "c" / "link").symlink_to("x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(Malformed):
            digest.dir_hash(tree)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
