"""A real RFC 3161 timestamp authority on the loopback: openssl, with a certificate authority made for the test."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

CONFIGURATION = """\
[tsa]
default_tsa = here
[here]
serial = serial
crypto_device = builtin
signer_cert = {name}.pem
signer_key = {name}.key
signer_digest = sha256
default_policy = 1.2.3.4.1
other_policies = 1.2.3.4.5
digests = sha256, sha512
accuracy = secs:1
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
ess_cert_id_alg = sha256
[tsa_extensions]
extendedKeyUsage = critical,timeStamping
keyUsage = critical,digitalSignature
[web_extensions]
extendedKeyUsage = critical,serverAuth
"""


@dataclass(frozen=True)
class Authority:
    """An authority's files in `folder`; `root` is the certificate that its own is signed under."""

    folder: Path
    name: str = "tsa"

    @property
    def root(self) -> Path:
        """The root certificate, PEM."""
        return self.folder / "ca.pem"

    def query(self, data: bytes, digest: str) -> bytes:
        """A timestamp query of openssl's."""
        (self.folder / "data").write_bytes(data)
        self._openssl("ts", "-query", "-data", "data", f"-{digest}", "-cert", "-out", "own.tsq")
        return (self.folder / "own.tsq").read_bytes()

    def answer(self, query: bytes) -> bytes:
        """What the authority answers to a timestamp query."""
        (self.folder / "query.tsq").write_bytes(query)
        (self.folder / "tsa.cnf").write_text(CONFIGURATION.format(name=self.name))
        self._openssl("ts", "-reply", "-queryfile", "query.tsq", "-config", "tsa.cnf", "-out", "answer.tsr")
        return (self.folder / "answer.tsr").read_bytes()

    def resigned(self, answer: bytes, name: str) -> bytes:
        """An answer that says the same, signed by hand under another certificate of the same root."""
        (self.folder / "answer.tsr").write_bytes(answer)
        self._openssl("ts", "-reply", "-in", "answer.tsr", "-token_out", "-out", "token.der")
        self._openssl("cms", "-verify", "-noverify", "-inform", "DER", "-in", "token.der", "-out", "info.der")
        signer = ("-signer", f"{name}.pem", "-inkey", f"{name}.key", "-cades", "-md", "sha256")
        content = ("-econtent_type", "1.2.840.113549.1.9.16.1.4", "-binary", "-nodetach", "-nosmimecap")
        self._openssl("cms", "-sign", *signer, *content, "-in", "info.der", "-outform", "DER", "-out", "token.der")
        token = (self.folder / "token.der").read_bytes()
        granted = b"\x30\x03\x02\x01\x00"
        return b"\x30\x82" + (len(granted) + len(token)).to_bytes(2, "big") + granted + token

    def accepts(self, answer: bytes, data: bytes) -> bool:
        """Whether `openssl ts -verify` takes the answer for a timestamp of `data`."""
        (self.folder / "data").write_bytes(data)
        (self.folder / "checked.tsr").write_bytes(answer)
        command = ["openssl", "ts", "-verify", "-data", "data", "-in", "checked.tsr", "-CAfile", "ca.pem"]
        return subprocess.run(command, cwd=self.folder, capture_output=True).returncode == 0

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)

    @classmethod
    def make(cls, folder: Path) -> Authority:
        """A new authority: a root, a certificate for timestamps (tsa), and one that is not for them (web)."""
        folder.mkdir(parents=True)
        authority = cls(folder)
        (folder / "tsa.cnf").write_text(CONFIGURATION.format(name="tsa"))
        (folder / "serial").write_text("01\n")
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        authority._openssl(
            "req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=root"
        )
        for number, name in enumerate(("tsa", "web"), start=2):
            authority._openssl("req", *new, "-keyout", f"{name}.key", "-out", "request.pem", "-subj", f"/CN={name}")
            signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", str(number), "-days", "2")
            extensions = ("-extfile", "tsa.cnf", "-extensions", f"{name}_extensions")
            authority._openssl("x509", "-req", "-in", "request.pem", *signing, *extensions, "-out", f"{name}.pem")
        return authority


@contextmanager
def serving(answer: Callable[[bytes], bytes | None]) -> Iterator[str]:
    """The address of a service that answers a query's bytes so; None: with status 500."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200 if body is not None else 500)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join(10)
