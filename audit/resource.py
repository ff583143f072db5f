"""Artifacts and inputs as in-toto names them: a name and a digest that says what was hashed."""

from __future__ import annotations

from typing import Annotated, Self, TypeAlias, TypeVar

from pydantic import AfterValidator, Field, model_validator

from audit.digest import Digest, Kind, Sha256
from audit.model import Count, Frozen, Text


def _without_dots(name: str) -> str:
    if {".", ".."} & set(name.split("/")):
        raise ValueError("'.' and '..' are not names")
    return name


ArtifactName: TypeAlias = Annotated[
    str,
    Field(max_length=1000, pattern=r"^[A-Za-z0-9._][A-Za-z0-9._-]*(/[A-Za-z0-9._-]+)*$"),
    AfterValidator(_without_dots),
]


class DigestSet(Frozen):
    """Exactly one digest: `sha256` of a file, or in-toto `dirHash` of a directory's names and digests."""

    sha256: Sha256 | None = None
    dir_hash: Sha256 | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.sha256 is None) == (self.dir_hash is None):
            raise ValueError("exactly one of sha256 and dirHash is needed")
        return self

    @classmethod
    def of(cls, kind: Kind, sha256: Sha256) -> DigestSet:
        """The set that holds `sha256` under the name of its algorithm."""
        return cls(sha256=sha256) if kind == "file" else cls(dir_hash=sha256)

    @property
    def kind(self) -> Kind:
        """What was hashed."""
        return "file" if self.dir_hash is None else "dir"

    @property
    def value(self) -> Sha256:
        """The 64 hexadecimal digits, whichever the algorithm."""
        return self.sha256 or self.dir_hash or ""


class Annotations(Frozen):
    """Facts of an artifact beside its digest.

    `size` in bytes (of all files of a directory); `arrow_ipc_sha256` is the logical digest of a table: of the
    Arrow IPC stream of its rows, which does not depend on the Parquet writer's version.
    """

    size: Count
    kind: Kind
    arrow_ipc_sha256: Sha256 | None = None


class Subject(Frozen):
    """An artifact the statement is about. `name` is a relative path with '/' between its parts."""

    name: ArtifactName
    digest: DigestSet
    annotations: Annotations

    @model_validator(mode="after")
    def _kinds_agree(self) -> Self:
        if self.digest.kind != self.annotations.kind:
            raise ValueError("annotations.kind contradicts the digest's algorithm")
        return self

    @classmethod
    def of(cls, name: str, digest: Digest, arrow_ipc_sha256: Sha256 | None = None) -> Subject:
        """The subject that `digest.digest_path` measured."""
        facts = Annotations(size=digest.size, kind=digest.kind, arrow_ipc_sha256=arrow_ipc_sha256)
        return cls(name=name, digest=DigestSet.of(digest.kind, digest.sha256), annotations=facts)

    @property
    def sha256(self) -> Sha256:
        """The digest's 64 hexadecimal digits: of the file, or the directory's dirHash."""
        return self.digest.value


class ResourceDescriptor(Frozen):
    """Something the stage read: an artifact, a source file, a lock file, a package."""

    name: Text
    uri: Text | None = None
    digest: DigestSet

    @classmethod
    def of(cls, name: str, digest: Digest, uri: str | None = None) -> ResourceDescriptor:
        """The descriptor of what `digest.digest_path` measured."""
        return cls(name=name, uri=uri, digest=DigestSet.of(digest.kind, digest.sha256))

    @property
    def sha256(self) -> Sha256:
        """The digest's 64 hexadecimal digits: of the file, or the directory's dirHash."""
        return self.digest.value


N = TypeVar("N", Subject, ResourceDescriptor)


def _by_name(items: tuple[N, ...]) -> tuple[N, ...]:
    """`items` sorted by name, so that one set has one text; each name once."""
    names = {item.name for item in items}
    if len(names) != len(items):
        raise ValueError("a name occurs twice")
    return tuple(sorted(items, key=lambda item: item.name))


Subjects: TypeAlias = Annotated[tuple[Subject, ...], Field(min_length=1), AfterValidator(_by_name)]
Resources: TypeAlias = Annotated[tuple[ResourceDescriptor, ...], AfterValidator(_by_name)]
