"""A timestamp authority that answers once, by openssl, and is thrown away: only its root certificate is kept."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from audit import note
from tests.fuzz.texts import CHECKPOINT, KEY, TSA

AUTHORITY = """
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
[tsa]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[stamp]
serial = serial
crypto_device = builtin
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
"""
COMMANDS = (
    "ecparam -name prime256v1 -genkey -noout -out ca.key",
    "ecparam -name prime256v1 -genkey -noout -out tsa.key",
    "req -x509 -new -key ca.key -subj /CN=root -days 36500 -out ca.pem -config c -extensions ca",
    "req -new -key tsa.key -subj /CN=authority -out tsa.csr -config c",
    "x509 -req -in tsa.csr -out tsa.pem -CA ca.pem -CAkey ca.key -set_serial 1 -days 36500 -extfile c -extensions tsa",
    "ts -query -data note -sha256 -no_nonce -cert -out query",
    "ts -reply -queryfile query -inkey tsa.key -signer tsa.pem -config c -section stamp -out answer",
)


def stamp() -> bytes:
    """The authority's answer about CHECKPOINT; its root replaces `tsa.pem`."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "c").write_text(AUTHORITY)
        (folder / "serial").write_text("01\n")
        (folder / "note").write_bytes(note.only(CHECKPOINT, note.Verifier("noptik.example/log", KEY.public)))
        for command in COMMANDS:
            subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
        TSA.write_bytes((folder / "ca.pem").read_bytes())
        return (folder / "answer").read_bytes()
