"""SSH signatures: ssh-keygen is the judge of ours, and we of its."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from audit import sshsig
from audit.errors import BadSignature, Malformed
from audit.signing import SigningKey

KEY = SigningKey.from_seed(bytes(range(32)))
OTHER = SigningKey.from_seed(bytes(range(1, 33)))
MESSAGE = b"0123  data/file\n"


def ssh_accepts(folder: Path, signature: bytes, message: bytes, key: SigningKey = KEY) -> bool:
    (folder / "allowed_signers").write_bytes(sshsig.allowed_signer("some.origin/log", key.public))
    (folder / "signature").write_bytes(signature)
    command = ["ssh-keygen", "-Y", "verify", "-f", "allowed_signers", "-I", "some.origin/log"]
    done = subprocess.run(
        [*command, "-n", sshsig.NAMESPACE, "-s", "signature"],
        cwd=folder,
        input=message,
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@pytest.mark.parametrize("message", [b"", MESSAGE, b"\0" * 100_000])
def test_ssh_keygen_accepts_our_signature_and_rejects_its_tampered_twins(tmp_path: Path, message: bytes) -> None:
    signature = sshsig.sign(message, KEY)
    assert sshsig.sign(message, KEY) == signature
    sshsig.verify(signature, message, KEY.public, "sig")
    assert ssh_accepts(tmp_path, signature, message)
    assert not ssh_accepts(tmp_path, signature, message + b"!")
    assert not ssh_accepts(tmp_path, signature, message, OTHER)
    assert not ssh_accepts(tmp_path, sshsig.sign(message, KEY, "another-use"), message)


def test_we_accept_the_signature_that_ssh_keygen_makes_byte_for_byte(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    with os.fdopen(os.open(tmp_path / "key", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(pem)
    (tmp_path / "message").write_bytes(MESSAGE)
    command = ["ssh-keygen", "-Y", "sign", "-f", "key", "-n", sshsig.NAMESPACE, "message"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    theirs = (tmp_path / "message.sig").read_bytes()
    assert theirs == sshsig.sign(MESSAGE, KEY)
    sshsig.verify(theirs, MESSAGE, KEY.public, "message.sig")


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (sshsig.sign(MESSAGE, KEY), MESSAGE + b"!"),
        (sshsig.sign(MESSAGE, OTHER), MESSAGE),
        (sshsig.sign(MESSAGE, KEY, "file"), MESSAGE),
    ],
)
def test_another_message_key_or_use_is_a_bad_signature(signature: bytes, message: bytes) -> None:
    with pytest.raises(BadSignature):
        sshsig.verify(signature, message, KEY.public, "sig")


def test_every_flipped_bit_of_a_signature_file_is_refused() -> None:
    raw = sshsig.sign(MESSAGE, KEY)
    for place in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises((BadSignature, Malformed)):
            sshsig.verify(bytes(flipped), MESSAGE, KEY.public, "sig")


@pytest.mark.parametrize(
    "edit",
    [
        lambda raw: raw + b"\n",
        lambda raw: b"\n" + raw,
        lambda raw: raw + raw,
        lambda raw: raw.replace(b"\n", b"\r\n"),
        lambda raw: raw[:40] + b"\n" + raw[40:],
        lambda raw: raw[:-10],
        lambda _: b"",
        lambda _: b"\xff" * 300,
    ],
)
def test_a_signature_file_has_one_form(edit: object) -> None:
    with pytest.raises((Malformed, BadSignature)):
        sshsig.verify(edit(sshsig.sign(MESSAGE, KEY)), MESSAGE, KEY.public, "sig")  # type: ignore[operator]
