"""One version of the root of trust as a file: TUF root.json, of one strict form.

Files are canonical JSON, which for these contents is also what python-tuf writes. `x-noptik` is our field in the signed
part: the log's origin, and every span of its keys there ever was.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter, model_validator
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root  # type: ignore[attr-defined]  # it re-exports Root by its documentation only
from tuf.api.serialization import DeserializationError

from audit import model
from audit.digest import Sha256
from audit.errors import Inconsistent, KeyRefused, Malformed, Usage
from audit.model import Count, Frozen
from audit.signing import PublicKey, SigningKey
from audit.trustroot import KeySpan, TrustRoot

MAX_ROOT_BYTES = 2**18
MAX_VERSIONS = 256
SPECIFICATION: Final = "1.0.31"
EXPIRES: Final = "9999-12-31T23:59:59Z"

Origin: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$")]
Reason: TypeAlias = Literal["rotated", "revoked"]


class _Snake(Frozen):
    """A record whose fields are named on the wire as TUF names them."""

    model_config = ConfigDict(alias_generator=lambda name: name)


class KeyValue(Frozen):
    """The 32 bytes of an Ed25519 public key, in hexadecimal."""

    public: Sha256


class RootKey(_Snake):
    """A key as TUF writes it; no other type or scheme has a meaning here."""

    keytype: Literal["ed25519"] = "ed25519"
    keyval: KeyValue
    scheme: Literal["ed25519"] = "ed25519"


class Role(_Snake):
    """Which keys sign, by id, sorted, each once; and how many of them must."""

    keyids: Annotated[tuple[Sha256, ...], Field(min_length=1, max_length=100)]
    threshold: Annotated[int, Field(ge=1, le=100)]

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if list(self.keyids) != sorted(set(self.keyids)):
            raise ValueError("key ids unsorted, or one of them twice")
        if self.threshold > len(self.keyids):
            raise ValueError(f"threshold {self.threshold} of {len(self.keyids)} keys")
        return self


class Roles(_Snake):
    """TUF's four roles."""

    root: Role
    snapshot: Role
    targets: Role
    timestamp: Role


class Span(Frozen):
    """A log key, from tree size `first` on; void from `void_from` on, for a reason, unless it is the active one."""

    key: Sha256
    first: Count
    void_from: Count | None = None
    reason: Reason | None = None

    @model_validator(mode="after")
    def _void_for_a_reason(self) -> Self:
        if (self.void_from is None) != (self.reason is None):
            raise ValueError("voidFrom and reason go together")
        return self


class Facts(Frozen):
    """The log's name, and every key it ever had, in the order of their sizes."""

    origin: Origin
    spans: Annotated[tuple[Span, ...], Field(min_length=1, max_length=MAX_VERSIONS)]


class Signed(_Snake):
    """What the signatures of a root.json cover."""

    type_: Literal["root"] = Field(default="root", alias="_type")
    consistent_snapshot: Literal[True] = True
    expires: Literal["9999-12-31T23:59:59Z"] = EXPIRES
    keys: dict[Sha256, RootKey]
    roles: Roles
    spec_version: Literal["1.0.31"] = SPECIFICATION
    version: Annotated[int, Field(ge=1, le=MAX_VERSIONS)]
    noptik: Facts = Field(validation_alias="x-noptik", serialization_alias="x-noptik")

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        for keyid, key in self.keys.items():
            if public_key(key.keyval.public).key_id != keyid:
                raise ValueError(f"key id {keyid} is not its key's")
        log = public_key(self.noptik.spans[-1].key).key_id
        if {*self.roles.root.keyids, log} != set(self.keys):
            raise ValueError("keys are not those of the roles")
        if any(role != Role(keyids=(log,), threshold=1) for role in (self.roles.snapshot, self.roles.targets)):
            raise ValueError("targets and snapshot are not the active log key's")
        if self.roles.timestamp != self.roles.targets:
            raise ValueError("timestamp is not the active log key's")
        spans = self.noptik.spans
        if spans[-1].reason is not None or any(span.reason is None for span in spans[:-1]):
            raise ValueError("other than one active span")
        if len({span.key for span in spans}) != len(spans):
            raise ValueError("a log key comes back")
        self.trust()
        return self

    def trust(self) -> TrustRoot:
        """The spans, as verification uses them. ValueError if they are none."""
        try:
            spans = tuple(KeySpan(public_key(s.key), s.first, s.void_from) for s in self.noptik.spans)
            return TrustRoot(self.noptik.origin, spans, self.version)
        except Usage as error:
            raise ValueError(str(error)) from None


class RootSignature(_Snake):
    """A signature over the signed part, by the key of this id."""

    keyid: Sha256
    sig: Annotated[str, Field(pattern=r"^[0-9a-f]{128}$")]


class RootFile(_Snake):
    """One version of the root of trust, as it lies on disk; `signatures` sorted by key id, each key once."""

    signatures: Annotated[tuple[RootSignature, ...], Field(max_length=300)]
    signed: Signed

    @model_validator(mode="after")
    def _sorted(self) -> Self:
        keyids = [signature.keyid for signature in self.signatures]
        if keyids != sorted(set(keyids)):
            raise ValueError("signatures unsorted, or a key signs twice")
        return self

    @property
    def version(self) -> int:
        """Counted from 1."""
        return self.signed.version

    @property
    def trust(self) -> TrustRoot:
        """The origin and spans that this version declares."""
        return self.signed.trust()

    @property
    def log_key(self) -> PublicKey:
        """The log key that is active from this version on."""
        return public_key(self.signed.noptik.spans[-1].key)

    @property
    def root_keys(self) -> tuple[PublicKey, ...]:
        """The root keys, sorted by id."""
        return tuple(public_key(self.signed.keys[keyid].keyval.public) for keyid in self.signed.roles.root.keyids)

    def sign(self, *keys: SigningKey) -> RootFile:
        """This version with the signatures of these keys as well."""
        payload = metadata(self, "root.json").signed_bytes
        made = {key.public.key_id: RootSignature(keyid=key.public.key_id, sig=key.sign(payload).hex()) for key in keys}
        signed = RootFile(signatures=tuple(made[keyid] for keyid in sorted(made)), signed=self.signed)
        return self.merge(signed)

    def merge(self, other: RootFile, where: str = "root.json") -> RootFile:
        """This version with the signatures of `other` as well; Inconsistent if that says anything else."""
        if other.signed != self.signed:
            raise Inconsistent("signatures over another root of trust", where, self.version, other.version)
        known = {signature.keyid: signature for signature in (*self.signatures, *other.signatures)}
        return RootFile(signatures=tuple(known[keyid] for keyid in sorted(known)), signed=self.signed)

    def to_bytes(self) -> bytes:
        """The bytes of the file, without a newline at the end."""
        return model.to_bytes(self)


_ROOT = TypeAdapter(RootFile)


def parse_root(raw: bytes, where: str = "root.json") -> RootFile:
    """The version whose file is `raw`, its signatures not yet verified; Malformed if there is none."""
    try:
        file = model.from_bytes(_ROOT, raw, where, max_bytes=MAX_ROOT_BYTES)
    except KeyRefused as error:
        raise Malformed(error.what, where, error.expected, error.found) from error
    if metadata(file, where).to_bytes() != raw:
        raise Malformed("python-tuf writes it otherwise", where, "the same bytes", "other bytes")
    return file


def metadata(file: RootFile, where: str) -> Metadata[Root]:
    """The version as python-tuf reads it; Malformed if it does not."""
    try:
        return Metadata[Root].from_bytes(file.to_bytes())
    except (DeserializationError, RepositoryError) as error:
        raise Malformed(f"python-tuf refuses it: {error}", where, "TUF root metadata", "something else") from error


@lru_cache(maxsize=2 * MAX_VERSIONS)  # every version repeats the keys of all before it
def public_key(text: str) -> PublicKey:
    """The key of 32 bytes in hexadecimal. KeyRefused: no key that may be used."""
    return PublicKey(bytes.fromhex(text))
