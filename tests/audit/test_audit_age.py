"""Encryption: Debian's age reads ours and we read its, and a damaged file leaves nothing behind."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest

from audit import age
from audit.errors import AuditError, KeyRefused, Malformed, Unavailable, Usage

CHUNK = 65_536  # of plaintext, in age's STREAM


def identity(folder: Path, name: str = "identity") -> tuple[Path, str]:
    """A new identity file, and its recipient."""
    subprocess.run(["age-keygen", "-o", folder / name], check=True, capture_output=True)
    shown = subprocess.run(["age-keygen", "-y", folder / name], check=True, capture_output=True)
    return folder / name, shown.stdout.decode().strip()


def plain(folder: Path, size: int = 3 * CHUNK + 17) -> Path:
    path = folder / "plain"
    path.write_bytes(random.Random(1).randbytes(size))
    return path


@pytest.mark.parametrize("size", [1, CHUNK, 3 * CHUNK + 17])
def test_debians_age_decrypts_ours_and_we_decrypt_its(tmp_path: Path, size: int) -> None:
    (key, recipient), source = identity(tmp_path), plain(tmp_path, size)
    age.encrypt(source, tmp_path / "ours.age", [recipient])
    subprocess.run(["age", "-d", "-i", key, "-o", tmp_path / "theirs", tmp_path / "ours.age"], check=True)
    assert (tmp_path / "theirs").read_bytes() == source.read_bytes()
    subprocess.run(["age", "-r", recipient, "-o", tmp_path / "theirs.age", source], check=True)
    age.decrypt(tmp_path / "theirs.age", tmp_path / "ours", key)
    assert (tmp_path / "ours").read_bytes() == source.read_bytes()
    assert (tmp_path / "ours").stat().st_mode & 0o777 == 0o600


def test_each_of_several_recipients_decrypts_and_a_stranger_does_not(tmp_path: Path) -> None:
    keys = [identity(tmp_path, f"id{i}") for i in range(3)]
    source = plain(tmp_path)
    age.encrypt(source, tmp_path / "f.age", [recipient for _, recipient in keys[:2]])
    for number, (key, _) in enumerate(keys[:2]):
        age.decrypt(tmp_path / "f.age", tmp_path / f"out{number}", key)
    with pytest.raises(Malformed, match="No matching keys"):
        age.decrypt(tmp_path / "f.age", tmp_path / "stranger", keys[2][0])
    assert not (tmp_path / "stranger").exists()


@pytest.mark.parametrize("damage", ["last chunk", "truncated", "first chunk", "header", "extended"])
def test_a_damaged_file_is_rejected_by_both_and_leaves_nothing_of_ours(tmp_path: Path, damage: str) -> None:
    (key, recipient), source = identity(tmp_path), plain(tmp_path)
    age.encrypt(source, tmp_path / "good.age", [recipient])
    raw = bytearray((tmp_path / "good.age").read_bytes())
    place = {"last chunk": len(raw) - 5, "first chunk": 400, "header": 60}.get(damage)
    if place is not None:
        raw[place] ^= 1
    cut = {"truncated": raw[: 2 * CHUNK], "extended": raw + b"\0"}.get(damage, raw)
    (tmp_path / "bad.age").write_bytes(cut)
    theirs = subprocess.run(["age", "-d", "-i", key, tmp_path / "bad.age"], capture_output=True, check=False)
    assert theirs.returncode != 0
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Malformed):
        age.decrypt(tmp_path / "bad.age", tmp_path / "out", key)
    assert sorted(tmp_path.iterdir()) == before


def test_nothing_that_exists_is_replaced(tmp_path: Path) -> None:
    (key, recipient), source = identity(tmp_path), plain(tmp_path)
    age.encrypt(source, tmp_path / "f.age", [recipient])
    for write in (
        lambda: age.encrypt(source, tmp_path / "f.age", [recipient]),
        lambda: age.decrypt(tmp_path / "f.age", source, key),
    ):
        with pytest.raises(Usage, match="already there"):
            write()
    assert not list(tmp_path.glob(".*"))


def test_wrong_keys_are_refused_and_a_secret_is_never_repeated(tmp_path: Path) -> None:
    (key, recipient), source = identity(tmp_path), plain(tmp_path)
    secret = key.read_text().splitlines()[-1]
    for wrong in ("age1", recipient[:-1] + "x", secret, "ssh-ed25519 AAAA"):
        with pytest.raises(KeyRefused):
            age.encrypt(source, tmp_path / "f.age", [wrong])
    with pytest.raises(Usage):
        age.encrypt(source, tmp_path / "f.age", [])
    age.encrypt(source, tmp_path / "f.age", [recipient])
    (tmp_path / "broken").write_text(secret[:-1] + "?")
    (tmp_path / "none").write_text("# nothing\n")
    for name in ("broken", "none"):
        with pytest.raises(KeyRefused) as error:
            age.decrypt(tmp_path / "f.age", tmp_path / "out", tmp_path / name)
        assert secret[16:-2] not in str(error.value) + repr(error.value.args)


def test_a_folder_that_cannot_be_written_is_unavailable_not_tampered(tmp_path: Path) -> None:
    (key, recipient), source = identity(tmp_path), plain(tmp_path)
    age.encrypt(source, tmp_path / "f.age", [recipient])
    with pytest.raises(Unavailable):
        age.decrypt(tmp_path / "f.age", tmp_path / "missing" / "out", key)
    with pytest.raises(Unavailable):
        age.encrypt(tmp_path / "absent", tmp_path / "g.age", [recipient])
    assert not (tmp_path / "g.age").exists()


def test_an_age_file_is_told_from_a_tar_by_its_first_line(tmp_path: Path) -> None:
    (_, recipient), source = identity(tmp_path), plain(tmp_path)
    age.encrypt(source, tmp_path / "f.age", [recipient])
    assert age.is_encrypted(tmp_path / "f.age")
    assert not age.is_encrypted(source)
    with pytest.raises(AuditError):
        age.is_encrypted(tmp_path / "absent")
