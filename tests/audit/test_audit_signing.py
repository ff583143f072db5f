"""Laws of keys: strict verification, secrets that never show, and a key file no one else can read or race."""

from __future__ import annotations

import base64
import copy
import errno
import json
import os
import pickle
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from audit import signing
from audit.digest import sha256
from audit.errors import AuditError, BadSignature, KeyRefused, Unavailable, Usage
from audit.signing import PublicKey, Secret, SigningKey
from tests.leaks import forms, shown
from tests.shared import shared_files

SEED = bytes(range(32))
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493  # RFC 8032 5.1: the group order


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "keys" / "ledger.pem"


@pytest.mark.parametrize("file", shared_files("vectors/wycheproof", "**/*.json"))
def test_public_signature_vectors_get_their_stated_verdict(file: Path) -> None:
    cases = json.loads(file.read_text())
    groups = [group for group in cases["testGroups"] if _verifies_ed25519(group)]
    if not groups:
        pytest.skip(f"{file.name} is about another scheme")
    for group in groups:
        for case in group["tests"]:
            assert _accepts(group["publicKey"]["pk"], case) == (case["result"] == "valid"), case
        if "publicKeyPem" in group:
            assert PublicKey.from_pem(group["publicKeyPem"].encode()).raw.hex() == group["publicKey"]["pk"]
    seen = sum(len(group["tests"]) for group in groups)
    assert seen == cases["numberOfTests"] or len(groups) < len(cases["testGroups"])


def _verifies_ed25519(group: dict[str, Any]) -> bool:
    """Whether a group of any file has the shape of Ed25519 verification."""
    return group["type"] == "EddsaVerify" and group["publicKey"]["curve"] == "edwards25519"


def _accepts(key: str, case: dict[str, Any]) -> bool:
    try:
        PublicKey(bytes.fromhex(key)).verify(bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"]))
    except (BadSignature, KeyRefused):
        return False
    return True


def test_signatures_are_deterministic_and_bind_key_and_message() -> None:
    key, other = SigningKey.from_seed(SEED), SigningKey.generate()
    signature = key.sign(b"message")
    assert signature == SigningKey.from_seed(SEED).sign(b"message")
    key.public.verify(signature, b"message")
    for verifier, message in ((key.public, b"massage"), (other.public, b"message")):
        with pytest.raises(BadSignature):
            verifier.verify(signature, message)


def test_any_changed_bit_of_a_signature_is_refused() -> None:
    key = SigningKey.from_seed(SEED)
    number = int.from_bytes(key.sign(b"m"), "big")
    for bit in range(512):
        with pytest.raises(BadSignature):
            key.public.verify((number ^ 1 << bit).to_bytes(64, "big"), b"m")


def test_s_beyond_the_group_order_is_refused() -> None:
    key = SigningKey.from_seed(SEED)
    signature = key.sign(b"m")
    malleated = signature[:32] + (int.from_bytes(signature[32:], "little") + L).to_bytes(32, "little")
    with pytest.raises(BadSignature):
        key.public.verify(malleated, b"m")


SMALL_ORDER = [  # every encoding, canonical or not, of the eight points of small order
    *(y | sign for y in (0, 1, P - 1, P, P + 1) for sign in (0, 1 << 255)),
    *(
        y | sign
        for y in (
            int.from_bytes(bytes.fromhex(text), "little")
            for text in (
                "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
                "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            )
        )
        for sign in (0, 1 << 255)
    ),
]


@pytest.mark.parametrize("encoded", SMALL_ORDER, ids=hex)
def test_keys_of_small_order_are_refused(encoded: int) -> None:
    # under such a key one signature verifies for many messages: with R the identity, S = 0
    with pytest.raises(KeyRefused, match=r"small order|canonical"):
        PublicKey(encoded.to_bytes(32, "little"))


def test_a_key_of_small_order_would_accept_what_no_one_signed() -> None:
    identity = (1).to_bytes(32, "little")
    forged = identity + bytes(32)
    ed25519.Ed25519PublicKey.from_public_bytes(identity).verify(forged, b"any message at all")


@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(33), b"\xff" * 32, (2).to_bytes(32, "little")])
def test_keys_that_are_no_points_are_refused(raw: bytes) -> None:
    with pytest.raises(KeyRefused):
        PublicKey(raw)


def test_every_generated_key_is_accepted() -> None:
    for _ in range(50):
        raw = SigningKey.generate().public.raw
        assert PublicKey.from_pem(PublicKey(raw).to_pem()).raw == raw


def test_public_pem_and_key_id_are_those_of_the_standard() -> None:
    public = SigningKey.from_seed(SEED).public
    standard = ed25519.Ed25519PublicKey.from_public_bytes(public.raw)
    assert public.to_pem() == standard.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert public.key_id == sha256(standard.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def test_note_key_id_is_that_of_a_published_key() -> None:
    # golang.org/x/mod/sumdb/note documents PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW
    raw = bytes.fromhex("1a5cd907143c384c41e830c5bce12aa8817ec5649aaabf2c31388b35b2d744d6")
    assert PublicKey(raw).note_key_id("PeterNeumann").hex() == "c74f20a3"


def _pem(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def test_only_one_plain_ed25519_key_is_a_public_key() -> None:
    good = SigningKey.from_seed(SEED).public.to_pem()
    private = ed25519.Ed25519PrivateKey.from_private_bytes(SEED)
    bad = {
        "empty": b"",
        "two": good + good,
        "RSA": _pem(rsa.generate_private_key(65537, 2048)),
        "X25519": _pem(x25519.X25519PrivateKey.generate()),
        "private": private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "prefixed": b"junk\n" + good,
        "spaced": good.replace(b"MCow", b"MC ow"),
        "unpadded": good.replace(b"=\n", b"\n"),
        "DER": private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "small order": good.replace(
            good.split(b"\n")[1], b"MCowBQYDK2VwAyEAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
        ),
    }
    for name, pem in bad.items():
        with pytest.raises(KeyRefused, match=f"{name}: not an Ed25519|small order"):
            PublicKey.from_pem(pem, name)


def test_the_secret_never_shows() -> None:
    key = SigningKey.from_seed(b"s" * 32)
    for text in (repr(key), str(key), f"{key}", repr([key]), repr(vars(key))):
        assert "ssss" not in text
        assert (b"s" * 4).hex() not in text
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(key)


def test_a_seed_has_32_bytes() -> None:
    for size in (0, 31, 33, 64):
        with pytest.raises(KeyRefused) as caught:
            SigningKey.from_seed(b"~" * size)
        assert "~" not in str(caught.value)
        assert "7e" not in str(caught.value)


def test_a_key_is_made_once_and_kept(path: Path) -> None:
    first = signing.load_or_create(path)
    raw = path.read_bytes()
    again = signing.load_or_create(path)
    assert first.public == again.public
    assert path.read_bytes() == raw
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_no_one_else_can_read_a_new_key_whatever_the_umask(path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        signing.load_or_create(path)
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601, 0o777])
def test_a_key_open_to_others_is_refused(path: Path, mode: int) -> None:
    signing.load_or_create(path)
    path.chmod(mode)
    with pytest.raises(KeyRefused, match="open to others"):
        signing.load_or_create(path)


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o701, 0o770])
def test_a_key_directory_open_to_others_is_refused(path: Path, mode: int) -> None:
    path.parent.mkdir(parents=True)
    path.parent.chmod(mode)
    with pytest.raises(KeyRefused, match="open to others"):
        signing.load_or_create(path)
    assert not path.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_key_of_another_user_is_refused(path: Path) -> None:
    signing.load_or_create(path)
    os.chown(path, 12345, 12345)
    with pytest.raises(KeyRefused, match="another user"):
        signing.load_or_create(path)


def test_links_and_special_files_are_no_keys(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "real" / "key.pem"
    signing.load_or_create(real)
    path.parent.mkdir(parents=True, mode=0o700)
    for target in (real, tmp_path / "nowhere"):
        path.symlink_to(target)
        with pytest.raises(KeyRefused):
            signing.load_or_create(path)
        path.unlink()
    assert not (tmp_path / "nowhere").exists()
    os.mkfifo(path, 0o600)
    with pytest.raises(KeyRefused):
        signing.load_or_create(path)
    path.unlink()
    path.mkdir(mode=0o700)
    with pytest.raises(KeyRefused):
        signing.load_or_create(path)
    (tmp_path / "linked").symlink_to(real.parent)
    with pytest.raises(KeyRefused):
        signing.load_or_create(tmp_path / "linked" / "key.pem")


def _private(key: Any, password: bytes | None = None) -> bytes:
    how = BestAvailableEncryption(password) if password else NoEncryption()
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))


def test_anything_but_one_plain_ed25519_key_is_refused_and_left_alone(path: Path) -> None:
    signing.load_or_create(path)
    good = path.read_bytes()
    bad = {
        "empty": b"",
        "cut": good[:-30],
        "twice": good + good,
        "trailing": good + b"\n",
        "text": b"not a key\n",
        "RSA": _private(rsa.generate_private_key(65537, 2048)),
        "X25519": _private(x25519.X25519PrivateKey.generate()),
        "encrypted": _private(ed25519.Ed25519PrivateKey.generate(), b"secret"),
        "large": good + b" " * 2**20,
    }
    for name, pem in bad.items():
        path.write_bytes(pem)
        with pytest.raises(KeyRefused) as caught:
            signing.load_or_create(path)
        assert path.read_bytes() == pem, name
        assert caught.value.__cause__ is None or "PRIVATE" not in str(caught.value.__cause__)


def test_where_no_key_can_be_kept_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        signing.load_or_create(Path("/proc/no-such-folder/keys/key.pem"))
    (tmp_path / "file").touch()
    with pytest.raises(KeyRefused):
        signing.load_or_create(tmp_path / "file" / "key.pem")


def test_an_encrypted_key_opens_with_its_passphrase_and_no_other(path: Path) -> None:
    made = signing.load_or_create(path, Secret(b"correct horse"))
    assert signing.load_or_create(path, Secret(b"correct horse")).public == made.public
    assert signing.load(path, Secret(b"correct horse")).sign(b"m") == made.sign(b"m")
    for wrong in (Secret(b"correct hors"), Secret(b""), Secret(b"x" * 5000), None):
        with pytest.raises(KeyRefused, match=r"not decrypted|is encrypted"):
            signing.load(path, wrong)


def test_a_plain_key_does_not_pass_for_an_encrypted_one(path: Path) -> None:
    signing.load_or_create(path)
    with pytest.raises(KeyRefused, match="not encrypted"):
        signing.load_or_create(path, Secret(b"passphrase"))


def test_openssl_opens_an_encrypted_key_and_finds_scrypt(path: Path) -> None:
    made = signing.load_or_create(path, Secret(b"correct horse"))
    command = ["openssl", "pkey", "-in", str(path), "-pubout", "-passin"]
    opened = subprocess.run([*command, "pass:correct horse"], capture_output=True, check=True)
    assert opened.stdout == made.public.to_pem()
    assert subprocess.run([*command, "pass:wrong"], capture_output=True).returncode != 0
    parsed = subprocess.run(["openssl", "asn1parse", "-in", str(path)], capture_output=True, text=True, check=True)
    for part in (":PBES2", ":scrypt", ":aes-256-cbc", ":4000"):
        assert part in parsed.stdout


def test_keys_that_openssl_made_are_read(path: Path) -> None:
    path.parent.mkdir(parents=True, mode=0o700)
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(path)], check=True, capture_output=True)
    path.chmod(0o600)
    plain = signing.load(path)
    encrypt = ["openssl", "pkcs8", "-topk8", "-scrypt", "-in", str(path), "-passout", "pass:p", "-out"]
    subprocess.run([*encrypt, str(path.with_name("e.pem"))], check=True, capture_output=True)
    path.with_name("e.pem").chmod(0o600)
    assert signing.load(path.with_name("e.pem"), Secret(b"p")).public == plain.public


def test_damaged_encrypted_keys_are_refused(path: Path) -> None:
    signing.load_or_create(path, Secret(b"p"))
    good = path.read_bytes()
    for bad in (
        good[:-30],
        good + good,
        good + b"\n",
        good.replace(b"M", b"N", 1),
        good.replace(b"=\n", b"\n"),
        good[:40],
    ):
        if bad != good:
            path.write_bytes(bad)
            with pytest.raises(KeyRefused):
                signing.load(path, Secret(b"p"))


def test_a_key_is_kept_under_a_name_once(path: Path) -> None:
    key = SigningKey.generate()
    signing.keep(path, key)
    signing.keep(path, key)
    with pytest.raises(Usage, match="another key"):
        signing.keep(path, SigningKey.generate())
    assert signing.load(path).public == key.public


def test_a_missing_key_is_unavailable_and_not_made(path: Path) -> None:
    with pytest.raises(Unavailable):
        signing.load(path)
    assert not path.parent.exists()


def test_a_salt_is_the_same_every_time_and_another_for_every_key_and_envelope() -> None:
    key = SigningKey.from_seed(SEED)
    salts = {key.salt(b"a"), key.salt(b"a"), key.salt(b"b"), SigningKey.generate().salt(b"a")}
    assert len(salts) == 3
    signature = key.sign(b"noptik-salt-v1\n" + sha256(b"a").encode())
    assert key.salt(b"a").hex() == sha256(signature)


def test_a_passphrase_file_is_private_and_not_empty(tmp_path: Path) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(b"correct horse\n")
    for mode in (0o644, 0o640):
        file.chmod(mode)
        with pytest.raises(KeyRefused, match="open to others"):
            signing.read_passphrase(file)
    file.chmod(0o600)
    assert signing.read_passphrase(file).reveal() == b"correct horse"
    for content in (b"", b"\n", b"x" * 5000):
        file.write_bytes(content)
        with pytest.raises(KeyRefused, match="no passphrase"):
            signing.read_passphrase(file)
    with pytest.raises(Unavailable):
        signing.read_passphrase(tmp_path / "none")


def test_no_error_shows_a_secret_even_with_local_variables(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passphrase = Secret(b"correct horse battery")
    plain, encrypted = path.with_name("plain.pem"), path.with_name("encrypted.pem")
    key = signing.load_or_create(plain)
    signing.keep(encrypted, key, passphrase)
    body = plain.read_bytes().split(b"\n")[1]
    secrets = {b"correct horse", body, base64.b64decode(body)[-32:]}
    alone = path.parent.with_name("alone")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def attempts() -> Iterator[Callable[[], object]]:
        yield lambda: signing.load(encrypted, Secret(b"correct horse is wrong"))
        yield lambda: signing.load(encrypted)
        yield lambda: signing.load(plain, passphrase)
        yield lambda: signing.keep(plain, SigningKey.generate(), None)
        plain.write_bytes(plain.read_bytes() + b"trailing")
        yield lambda: signing.load(plain)
        plain.chmod(0o644)
        yield lambda: signing.load(plain)
        monkeypatch.setattr(os, "fsync", full)
        yield lambda: signing.keep(alone / "k.pem", key, passphrase)
        yield lambda: signing.keep(alone / "k.pem", key)
        monkeypatch.undo()
        (alone / "k.pem").mkdir()
        yield lambda: signing.load(alone / "k.pem", passphrase)

    for number, attempt in enumerate(attempts()):
        with pytest.raises(AuditError) as caught:
            attempt()
        text = shown(caught.value).encode()
        assert b"audit/signing.py" in text
        for secret in secrets:
            for form in forms(secret):
                assert form not in text, (number, text)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(passphrase)


RACE = """
import sys, time
from pathlib import Path
from audit.signing import load_or_create
path, start = Path(sys.argv[1]), Path(sys.argv[2])
print("ready", flush=True)
while not start.exists():
    time.sleep(0.001)
print(load_or_create(path).public.raw.hex())
"""


def test_creators_at_once_end_with_one_key(path: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE, str(path), str(start)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    start.touch()
    keys = {racer.communicate(timeout=60)[0].strip() for racer in racers}
    assert [racer.returncode for racer in racers] == [0] * 4
    assert keys == {signing.load_or_create(path).public.raw.hex()}
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_public_key_file_is_read_or_says_why_not(tmp_path: Path) -> None:
    file = tmp_path / "key.pub"
    public = SigningKey.from_seed(SEED).public
    file.write_bytes(public.to_pem())
    assert signing.load_public(file) == public
    with pytest.raises(Unavailable):
        signing.load_public(tmp_path / "missing")
    file.write_bytes(b"\n" * 2**20)
    with pytest.raises(KeyRefused, match=r"key\.pub"):
        signing.load_public(file)


def test_a_private_key_given_by_mistake_for_a_public_one_is_not_repeated() -> None:
    private = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(KeyRefused, match=r"client\.pem") as caught:
        PublicKey.from_pem(pem, "client.pem")
    secret = pem.split(b"\n")[1]
    for part in (secret[-40:-20], secret[-20:]):
        for form in forms(part):
            assert form.decode("latin-1") not in str(caught.value)
