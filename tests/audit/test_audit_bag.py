"""BagIt: what two programs of others accept and reject, and every kind of difference, named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import bagit
import pytest

from audit import bag
from audit.digest import sha256
from audit.errors import DigestMismatch, Malformed, Tampered

IDENTIFIER = "log/forecast/run"
PAYLOAD = {"data/a.json": b"{}", "data/deep/b": b"\x00\xff", "data/empty": b""}


def files_of(payload: dict[str, bytes] = PAYLOAD) -> dict[str, bytes]:
    """A whole bag: names and contents."""
    files = dict(payload)
    files[bag.BAGIT] = bag.DECLARATION
    files[bag.INFO] = bag.info(IDENTIFIER, {name: len(content) for name, content in payload.items()})
    files[bag.MANIFEST] = bag.manifest({name: sha256(content) for name, content in payload.items()})
    files["README"] = b"a tag file"
    tags = {name: sha256(content) for name, content in files.items() if name not in payload}
    files[bag.TAG_MANIFEST] = bag.manifest(tags)
    return files


def check(files: dict[str, bytes]) -> None:
    digests = {name: sha256(content) for name, content in files.items()}
    payload = {name: digest for name, digest in digests.items() if name.startswith(bag.PAYLOAD)}
    bag.require_manifest(payload, files[bag.MANIFEST], bag.MANIFEST)
    bag.require_tags(digests, {name: len(content) for name, content in files.items()}, files, IDENTIFIER)


def on_disk(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def others_accept(folder: Path) -> tuple[bool, bool]:
    """Whether sha256sum and bagit.py accept the bag."""
    sums = [
        subprocess.run(["sha256sum", "-c", "--strict", "--quiet", name], cwd=folder, capture_output=True, check=False)
        for name in (bag.MANIFEST, bag.TAG_MANIFEST)
    ]
    command = [sys.executable, "-m", "bagit", "--validate", str(folder)]
    validated = subprocess.run(command, capture_output=True, check=False)
    return all(done.returncode == 0 for done in sums), validated.returncode == 0


def test_a_bag_is_accepted_by_us_by_sha256sum_and_by_bagit_py(tmp_path: Path) -> None:
    files = files_of()
    check(files)
    folder = on_disk(tmp_path / "bag", files)
    assert others_accept(folder) == (True, True)
    loaded = bagit.Bag(str(folder))
    loaded.validate()
    assert loaded.version_info == (1, 0)
    assert loaded.info["External-Identifier"] == "log/forecast/run"


@pytest.mark.parametrize("name", sorted(PAYLOAD))
def test_an_altered_payload_file_is_named_and_rejected_by_all_three(tmp_path: Path, name: str) -> None:
    files = files_of() | {name: b"altered"}
    with pytest.raises(DigestMismatch) as error:
        check(files)
    assert error.value.where == name
    assert others_accept(on_disk(tmp_path / "bag", files)) == (False, False)


@pytest.mark.parametrize("name", sorted(set(files_of()) - set(PAYLOAD)))
def test_an_altered_tag_file_is_refused_by_all_three(tmp_path: Path, name: str) -> None:
    files = files_of()
    files[name] = files[name].replace(b"a", b"b")
    with pytest.raises(Tampered):
        check(files)
    assert False in others_accept(on_disk(tmp_path / "bag", files))


@pytest.mark.parametrize("name", sorted(set(files_of()) - {bag.MANIFEST}))
def test_a_deleted_file_is_noticed(name: str) -> None:
    files = files_of()
    del files[name]
    with pytest.raises(Tampered) as error:
        check(files)
    assert error.value.where == (bag.TAG_MANIFEST if name == "README" else name)


@pytest.mark.parametrize("name", ["data/extra", "extra", "tagmanifest-md5.txt", "manifest-md5.txt", "fetch.txt"])
def test_an_extra_file_is_noticed_as_are_manifests_of_weaker_digests_and_lists_of_files_to_fetch(name: str) -> None:
    with pytest.raises(Tampered, match=r"extra|not the manifest of the tag files"):
        check(files_of() | {name: b"more"})


@pytest.mark.parametrize(
    "edit",
    [
        lambda raw: raw.upper(),
        lambda raw: raw.replace(b"  ", b" *"),
        lambda raw: raw + raw,
        lambda raw: b"\n".join(reversed(raw[:-1].split(b"\n"))) + b"\n",
        lambda raw: raw[:-1],
        lambda raw: raw.replace(b"data/a.json", b"data/../a.json"),
        lambda raw: raw + b"\n",
        lambda raw: raw.replace(b"\n", b"\r\n"),
    ],
)
def test_a_manifest_has_one_form(edit: object) -> None:
    raw = files_of()[bag.MANIFEST]
    with pytest.raises(Malformed):
        bag.parse_manifest(edit(raw), bag.MANIFEST)  # type: ignore[operator]


@pytest.mark.parametrize(
    "raw",
    [
        b"External-Identifier: x\nPayload-Oxum: 1.1\n",
        b"Payload-Oxum: 4.3\n",
        b"",
        files_of()[bag.INFO] + b"Bagging-Date: 2024-01-01\n",
    ],
)
def test_other_information_than_the_payloads_is_refused(raw: bytes) -> None:
    files = files_of() | {bag.INFO: raw}
    tags = {name: sha256(content) for name, content in files.items() if name not in PAYLOAD}
    del tags[bag.TAG_MANIFEST]
    files[bag.TAG_MANIFEST] = bag.manifest(tags)
    with pytest.raises(Malformed) as error:
        check(files)
    assert error.value.where == bag.INFO
