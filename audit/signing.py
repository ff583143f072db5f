"""Ed25519 keys (RFC 8032): the one place that holds, makes and reads private keys.

Verification is strict: 64-byte signatures with S below the group order (OpenSSL checks that), and public keys
that are canonical encodings of points outside the small subgroup: no key accepts a signature it never made.

Secrets stay out of tracebacks, even of those that show local variables: what is secret is held by a `Secret`
or by a function that raises nothing.
"""

from __future__ import annotations

import base64
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, NoReturn

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from audit.digest import Sha256, open_regular, sha256
from audit.errors import BadSignature, KeyRefused, Malformed, Unavailable, Usage
from audit.secret import ENCRYPTED, armour, private_pem
from audit.secret import Secret as Secret

KEY_BYTES = 32
SIGNATURE_BYTES = 64
NOTE_ED25519 = b"\x01"  # C2SP signed-note: signature type of plain Ed25519
MAX_PEM_BYTES = 4096
SALT_CONTEXT = b"noptik-salt-v1\n"

# RFC 8410 4: SubjectPublicKeyInfo of an Ed25519 key is this prefix and the 32 bytes
_SPKI = bytes.fromhex("302a300506032b6570032100")
_P = 2**255 - 19
_D = -121665 * pow(121666, -1, _P) % _P
_Y_ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_SMALL_Y = frozenset({0, 1, _P - 1, _Y_ORDER_8, _P - _Y_ORDER_8})  # y of the 8 points of order 1, 2, 4 and 8


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key: `raw` is the 32-byte canonical encoding of a curve point of large order.

    KeyRefused at construction otherwise.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.raw, bytes) or len(self.raw) != KEY_BYTES:
            raise KeyRefused("public key has the wrong size", expected=f"{KEY_BYTES} bytes", found=self.raw)
        encoded = int.from_bytes(self.raw, "little")
        y = encoded & (2**255 - 1)
        if y >= _P:
            raise KeyRefused("public key is not a canonical encoding", expected="y < 2^255 - 19", found=self.raw)
        if y in _SMALL_Y:
            raise KeyRefused("public key has small order", expected="a point of large order", found=self.raw)
        if not _on_curve(y):
            raise KeyRefused("public key is not on the curve", expected="a point", found=self.raw)

    @cached_property
    def key_id(self) -> Sha256:
        """SHA-256 of the DER SubjectPublicKeyInfo: `openssl pkey -pubin -outform DER | sha256sum`."""
        return sha256(_SPKI + self.raw)

    def note_key_id(self, name: str) -> bytes:
        """The 4-byte key id of a signed note under `name` (C2SP signed-note, Ed25519 signatures)."""
        return hashlib.sha256(name.encode() + b"\n" + NOTE_ED25519 + self.raw).digest()[:4]

    def verify(self, signature: bytes, message: bytes, where: str = "") -> None:
        """Returns only if `signature` is this key's over `message` (RFC 8032 5.1.7); else BadSignature."""
        if len(signature) != SIGNATURE_BYTES:
            raise BadSignature(
                "signature has the wrong size", where, f"{SIGNATURE_BYTES} bytes", f"{len(signature)} bytes"
            )
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature as error:
            raise BadSignature(
                "signature does not verify", where, f"a signature by key {self.key_id}", signature
            ) from error

    def to_pem(self) -> bytes:
        """SubjectPublicKeyInfo PEM, byte for byte as OpenSSL writes it."""
        return b"-----BEGIN PUBLIC KEY-----\n%b\n-----END PUBLIC KEY-----\n" % base64.b64encode(_SPKI + self.raw)

    @classmethod
    def from_pem(cls, pem: bytes, where: str = "") -> PublicKey:
        """The key of exactly what `to_pem` writes, white space at the end aside; KeyRefused otherwise."""
        lines = pem.rstrip().split(b"\n")
        with suppress(ValueError):
            der = base64.b64decode(lines[1] if len(lines) == 3 else b"", validate=True)
            if der.startswith(_SPKI) and len(der) == len(_SPKI) + KEY_BYTES:
                key = cls._at(der[len(_SPKI) :], where)
                if key.to_pem() == pem.rstrip() + b"\n":
                    return key
        raise KeyRefused("not an Ed25519 public key", where, "SubjectPublicKeyInfo PEM", "other bytes")

    @classmethod
    def _at(cls, raw: bytes, where: str) -> PublicKey:
        try:
            return cls(raw)
        except KeyRefused as error:
            raise KeyRefused(error.what, where, error.expected, error.found) from None


@dataclass(frozen=True, repr=False, eq=False)
class SigningKey:
    """An Ed25519 private key. Its secret is in no attribute that prints, compares, pickles or copies."""

    _key: Ed25519PrivateKey
    public: PublicKey = field(init=False)

    def __post_init__(self) -> None:
        raw = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        object.__setattr__(self, "public", PublicKey(raw))

    @classmethod
    def generate(cls) -> SigningKey:
        """A new key from the system's random source."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key of a 32-byte seed (RFC 8032 5.1.5), for published test keys; KeyRefused for other sizes."""
        if len(seed) != KEY_BYTES:
            raise KeyRefused("seed has the wrong size", "", f"{KEY_BYTES} bytes", f"{len(seed)} bytes")
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message`: the same bytes every time (RFC 8032 5.1.6)."""
        return self._key.sign(message)

    def salt(self, envelope: bytes) -> bytes:
        """The 32 bytes that hide `envelope` in its log entry: the same every time, unguessable without the key."""
        return hashlib.sha256(self.sign(SALT_CONTEXT + sha256(envelope).encode())).digest()

    def __repr__(self) -> str:
        return f"SigningKey(public={self.public.raw.hex()})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signing key is not copied or pickled")


def load_or_create(path: Path, passphrase: Secret | None = None) -> SigningKey:
    """The signing key at `path`, made on first use; afterwards the file exists, whole, on disk.

    A new key is PKCS8 PEM, encrypted if there is a passphrase (scrypt, AES-256), mode 0600, in a directory of
    mode 0700 (created if absent). It appears under its name in one step, so of several creators at once all end
    with the same key. KeyRefused: a directory or file that others may enter or read, of another owner, a symbolic
    link, anything but one Ed25519 key, or not of this passphrase. Unavailable: the system would not read or write it.
    """
    with _private_directory(path.parent) as directory:
        if not _exists(path.name, directory):
            _create(path.name, directory, SigningKey.generate(), passphrase)
        return _load(path, directory, passphrase)


def load(path: Path, passphrase: Secret | None = None) -> SigningKey:
    """The signing key at `path`. Unavailable if there is none; otherwise errors as `load_or_create`."""
    with _private_directory(path.parent, create=False) as directory:
        return _load(path, directory, passphrase)


def keep(path: Path, key: SigningKey, passphrase: Secret | None = None) -> None:
    """Afterwards `key` lies at `path`, durably, as `load_or_create` would have made it. Usage if the name is taken."""
    with _private_directory(path.parent) as directory:
        _create(path.name, directory, key, passphrase)
        if _load(path, directory, passphrase).public != key.public:
            raise Usage("another key lies here", path)


def read_passphrase(path: Path) -> Secret:
    """What the file at `path` holds, a newline at the end aside; it must be its owner's alone, as a key is.

    KeyRefused: open to others, empty, or longer than MAX_PEM_BYTES. Unavailable: not read.
    """
    try:
        with open_regular(path) as fd:
            _require_private(os.fstat(fd), str(path), "-rw-------")
            secret = Secret(os.read(fd, MAX_PEM_BYTES + 1).removesuffix(b"\n"))
    except OSError as error:
        raise Unavailable(f"cannot read the passphrase: {error.strerror}", path) from error
    except Malformed as error:
        raise KeyRefused(error.what, path, error.expected, error.found) from error
    if not 0 < len(secret.reveal()) <= MAX_PEM_BYTES:
        raise KeyRefused("no passphrase", path, f"1 to {MAX_PEM_BYTES} bytes", f"{len(secret.reveal())} bytes")
    return secret


def load_public(path: Path) -> PublicKey:
    """The public key in the PEM file at `path`; Unavailable if it is not read, KeyRefused if it is none."""
    try:
        with path.open("rb") as file:
            pem = file.read(MAX_PEM_BYTES + 1)
    except OSError as error:
        raise Unavailable(f"cannot read the public key: {error.strerror}", path) from error
    return PublicKey.from_pem(pem, str(path))


def _on_curve(y: int) -> bool:
    # RFC 8032 5.1.3: x^2 = (y^2 - 1) / (d y^2 + 1) must be a square; Euler's criterion
    x2 = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    return pow(x2, (_P - 1) // 2, _P) == 1


@contextmanager
def _private_directory(path: Path, *, create: bool = True) -> Iterator[int]:
    """A descriptor of the directory at `path`, created 0700 if absent, and no one else's to enter."""
    try:
        if create:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileExistsError, NotADirectoryError) as error:
        raise KeyRefused("key directory is not a directory", path, "a directory", "a file or link") from error
    except OSError as error:
        raise Unavailable(f"cannot open the key directory: {error.strerror}", path) from error
    try:
        _require_private(os.fstat(fd), str(path), "drwx------")
        yield fd
    except OSError as error:
        raise Unavailable(f"cannot keep a key here: {error.strerror}", path) from error
    finally:
        os.close(fd)


def _require_private(facts: os.stat_result, place: str, expected: str) -> None:
    if facts.st_mode & 0o077:
        raise KeyRefused("private key open to others", place, expected, stat.filemode(facts.st_mode))
    if facts.st_uid != os.geteuid():
        raise KeyRefused("private key of another user", place, f"uid {os.geteuid()}", f"uid {facts.st_uid}")


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _create(name: str, directory: int, key: SigningKey, passphrase: Secret | None) -> None:
    """Afterwards a whole key lies under `name`: this one, or that of whoever was first."""
    pem = _private_pem(key, passphrase)
    draft = f".{name}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(draft, flags, 0o600, dir_fd=directory)
    try:
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, 0o600)  # whatever the umask took away
            file.write(pem.reveal())
            file.flush()
            os.fsync(fd)
        with suppress(FileExistsError):  # link, unlike rename, never replaces
            os.link(draft, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
    finally:
        os.unlink(draft, dir_fd=directory)
    os.fsync(directory)


def _private_pem(key: SigningKey, passphrase: Secret | None) -> Secret:
    return private_pem(Secret(key._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())), passphrase)


class _Refusal(NamedTuple):
    """Why a file's bytes are not the key."""

    what: str
    expected: str
    found: str


def _load(path: Path, directory: int, passphrase: Secret | None) -> SigningKey:
    try:
        with open_regular(path.name, directory, str(path)) as fd:
            _require_private(os.fstat(fd), str(path), "-rw-------")
            found = _read_private(fd, passphrase)
    except Malformed as error:
        raise KeyRefused(error.what, path, error.expected, error.found) from error
    if isinstance(found, _Refusal):
        raise KeyRefused(found.what, path, found.expected, found.found)
    return found


def _read_private(fd: int, passphrase: Secret | None) -> SigningKey | _Refusal:
    """The key, or why there is none: nothing raised from here could keep the secret out of its traceback."""
    pem = os.read(fd, MAX_PEM_BYTES + 1)
    encrypted = pem.startswith(f"-----BEGIN {ENCRYPTED}-----\n".encode())
    if encrypted and passphrase is None:
        return _Refusal("private key is encrypted", "its passphrase", "none")
    if not encrypted and passphrase is not None:
        return _Refusal("private key is not encrypted", "a key under the passphrase", "a plain key or none")
    try:
        key = load_pem_private_key(pem, password=None if passphrase is None else passphrase.reveal())
        if isinstance(key, Ed25519PrivateKey) and _is_one_pem(pem, key, encrypted):
            return SigningKey(key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            return _Refusal("private key not decrypted", "its passphrase", "another, or a damaged file")
    return _Refusal("not an Ed25519 private key", "one PKCS8 PEM key", "other bytes")


def _is_one_pem(pem: bytes, key: Ed25519PrivateKey, encrypted: bool) -> bool:
    """Whether `pem` is nothing but the key that was read from it, in its one form."""
    if not encrypted:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) == pem
    return armour(ENCRYPTED, base64.b64decode(b"".join(pem.split(b"\n")[1:-2]))) == pem
