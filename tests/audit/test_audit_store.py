"""Laws of the artifact store, and attacks on it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.digest import dir_hash, sha256
from audit.errors import DigestMismatch, Malformed, Tampered, Unavailable, Usage
from audit.resource import DigestSet
from audit.source import source_tree
from audit.store import Store

NAMES = st.from_regex(r"[a-z0-9_]([a-z0-9._-]{0,5})(/[a-z0-9_]{1,3}){0,2}", fullmatch=True)


def tree(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def stored(store: Store, data: bytes) -> Path:
    name = sha256(data)
    return store.root / "sha256" / name[:2] / name


@settings(max_examples=25, deadline=None, derandomize=True)
@given(files=st.dictionaries(NAMES, st.binary(max_size=40), min_size=1, max_size=6))
def test_a_directory_comes_back_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    names = set(files)
    files = {n: d for n, d in files.items() if not any(other.startswith(f"{n}/") for other in names)}
    folder = tmp_path_factory.mktemp("store")
    store = Store(folder / "store")
    digest = store.put(tree(folder / "in", files))
    store.get("dir", digest.sha256, folder / "out")
    assert digest.sha256 == dir_hash(folder / "out") == dir_hash(folder / "in")
    assert store.check("dir", digest.sha256) == digest.size == sum(map(len, files.values()))
    assert store.listed(digest.sha256) == tuple((entry.name, entry.sha256) for entry in digest.files)


def test_a_file_comes_back_and_lies_under_its_digest_read_only(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "a").write_bytes(b"abc")
    digest = store.put(tmp_path / "a")
    assert stored(store, b"abc").read_bytes() == b"abc"
    assert stat.S_IMODE(stored(store, b"abc").stat().st_mode) == 0o444
    store.get("file", digest.sha256, tmp_path / "deep" / "b")
    assert (tmp_path / "deep" / "b").read_bytes() == b"abc"
    assert (tmp_path / "deep" / "b").stat().st_nlink == 1
    assert store.read(digest.sha256) == b"abc"


def test_putting_twice_changes_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "a").write_bytes(b"abc")
    store.put(tmp_path / "a")
    before = stored(store, b"abc").stat()
    store.put(tmp_path / "a")
    assert stored(store, b"abc").stat().st_ino == before.st_ino
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_editing_the_workspace_does_not_edit_the_evidence(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "a").write_bytes(b"abc")
    store.put(tmp_path / "a")
    with (tmp_path / "a").open("r+b") as file:
        file.write(b"X")
    assert store.check("file", sha256(b"abc")) == 3


def test_a_missing_object_is_unavailable_and_a_wrong_one_is_tampered(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    with pytest.raises(Unavailable):
        store.check("file", sha256(b"abc"))
    store.put_bytes(b"abc")
    place = stored(store, b"abc")
    place.chmod(0o644)
    place.write_bytes(b"abd")
    for attempt in (
        lambda: store.check("file", sha256(b"abc")),
        lambda: store.read(sha256(b"abc")),
        lambda: store.get("file", sha256(b"abc"), tmp_path / "out"),
        lambda: store.put_bytes(b"abc"),
    ):
        with pytest.raises(DigestMismatch):
            attempt()
    assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    place.unlink()
    with pytest.raises(Unavailable):
        store.get("file", sha256(b"abc"), tmp_path / "out")


def test_an_object_replaced_by_a_link_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.put_bytes(b"abc")
    place = stored(store, b"abc")
    place.rename(tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Malformed):
        store.read(sha256(b"abc"))


def test_a_missing_file_of_a_directory_is_unavailable_and_an_altered_listing_tampered(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    digest = store.put(tree(tmp_path / "in", {"a": b"1", "b/c": b"2"}))
    stored(store, b"2").unlink()
    with pytest.raises(Unavailable):
        store.check("dir", digest.sha256)
    listing = store.root / "sha256" / digest.sha256[:2] / digest.sha256
    listing.chmod(0o644)
    listing.write_bytes(listing.read_bytes().replace(b"b/c", b"b/d"))
    with pytest.raises(DigestMismatch):
        store.check("dir", digest.sha256)


@pytest.mark.parametrize(
    "line", ["/etc/x", "../x", "a/../../x", "./x", "a//b", "a\\b", "a\x07", "", "-\nx", "a/", "\u202ex"]
)
def test_a_listing_cannot_name_a_place_outside(tmp_path: Path, line: str) -> None:
    store = Store(tmp_path / "store")
    content = store.put_bytes(b"1")
    listing = store.put_bytes(f"{content}  {line}\n".encode())
    with pytest.raises(Tampered):
        store.get("dir", listing, tmp_path / "out")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("names", [["b", "a"], ["a", "a"], ["a", "a/b"]])
def test_a_listing_out_of_order_or_with_doubles_is_refused(tmp_path: Path, names: list[str]) -> None:
    store = Store(tmp_path / "store")
    content = store.put_bytes(b"1")
    listing = store.put_bytes("".join(f"{content}  {name}\n" for name in names).encode())
    with pytest.raises(Malformed):
        store.listed(listing)


def test_an_artifact_that_is_not_the_stated_one_is_not_stored(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    (tmp_path / "a").write_bytes(b"abd")
    with pytest.raises(DigestMismatch):
        store.put(tmp_path / "a", DigestSet.of("file", sha256(b"abc")))
    assert not store.root.exists()


def test_a_source_file_swapped_between_hashing_and_storing_is_detected(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    tree(tmp_path / "in", {"a.py": b"1"})
    facts = source_tree(tmp_path / "in")
    (tmp_path / "in" / "a.py").write_bytes(b"2")
    with pytest.raises(DigestMismatch, match="changed while it was stored"):
        store.put_source_tree(tmp_path / "in", facts)
    with pytest.raises(Unavailable):
        store.read(facts.sha256)
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    digest = store.put(tree(tmp_path / "in", {"a": b"1"}))
    (tmp_path / "out").mkdir()
    for kind, name in (("dir", digest.sha256), ("file", sha256(b"1"))):
        with pytest.raises(Usage):
            store.get(kind, name, tmp_path / "out")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "zz", "A" * 64, "../" * 22, "0" * 63])
def test_only_a_sha256_is_a_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(Usage):
        Store(tmp_path).read(name)


def test_the_objects_and_the_drafts_of_a_store_are_listed(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert list(store.names()) == []
    assert store.drafts() == ()
    names = sorted(store.put_bytes(data) for data in (b"a", b"b", b"c"))
    (store.root / "tmp" / "left by a crash").write_bytes(b"")
    assert list(store.names()) == names
    assert [path.name for path in store.drafts()] == ["left by a crash"]


@pytest.mark.parametrize("place", ["ab/x", f"ab/{'c' * 64}", f"xy/{'x' * 64}", "plain file"])
def test_what_is_no_object_of_the_store_is_malformed(tmp_path: Path, place: str) -> None:
    store = Store(tmp_path / "store")
    store.put_bytes(b"a")
    path = store.root / "sha256" / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x")
    with pytest.raises(Malformed):
        list(store.names())
