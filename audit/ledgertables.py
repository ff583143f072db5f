"""The ledger's tables, the same in SQLite and in PostgreSQL.

    entries         one row an entry; what lies beside the leaf can be withheld and is committed to by it
    tiles           the tree state: its hashes, in C2SP tiles, the last of each level partial
    checkpoints     every head that was ever signed
    registrations   which specifications were registered for which data, and as their how-manieth
    attachments     what others said of a head: cosignature lines, RFC 3161 tokens

`kind`, `forecast`, `core_sha256` and `head` of an entry and all registrations repeat what the entries and heads
say, for finding them: `audit.ledgerindex` checks that they do.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel

SCHEMA_VERSION = 2
_NUMBER = BigInteger().with_variant(Integer, "sqlite")  # SQLite's INTEGER has 64 bits, and STRICT knows no other
_GIVEN: Any = {"autoincrement": False}
_STRICT: Any = {"sqlite_strict": True}  # SQLite itself refuses a value of another type


class Table(SQLModel, registry=registry()):
    """Base of the ledger's tables."""

    __table_args__: ClassVar[Any] = _STRICT


class SchemaRow(Table, table=True):
    """The one row that says which log this is, in which form."""

    __tablename__ = "schema_version"
    version: int = Field(primary_key=True, sa_type=Integer, sa_column_kwargs=_GIVEN)
    origin: str = Field(sa_type=Text)


class HeadRow(Table, table=True):
    """A signed head."""

    __tablename__ = "checkpoints"
    size: int = Field(primary_key=True, sa_type=_NUMBER, sa_column_kwargs=_GIVEN)
    note: bytes = Field(sa_type=LargeBinary)


class EntryRow(Table, table=True):
    """An entry; `head` is the size of the head it was first proven under."""

    __tablename__ = "entries"
    __table_args__: ClassVar[Any] = (Index("entries_of_forecast", "forecast", "kind", "seq"), _STRICT)
    seq: int = Field(primary_key=True, sa_type=_NUMBER, sa_column_kwargs=_GIVEN)
    head: int = Field(sa_type=_NUMBER, sa_column_args=[ForeignKey("checkpoints.size")])
    kind: str = Field(sa_type=Text)
    forecast: str = Field(sa_type=Text)
    core_sha256: str = Field(sa_type=Text, index=True)  # again after a revocation that made the first void
    leaf: bytes = Field(sa_type=LargeBinary)
    salt: bytes = Field(sa_type=LargeBinary)
    envelope: bytes = Field(sa_type=LargeBinary)


class TileRow(Table, table=True):
    """A tile: its hashes joined."""

    __tablename__ = "tiles"
    level: int = Field(primary_key=True, sa_type=Integer, sa_column_kwargs=_GIVEN)
    number: int = Field(primary_key=True, sa_type=_NUMBER, sa_column_kwargs=_GIVEN)
    hashes: bytes = Field(sa_type=LargeBinary)


class RegistrationRow(Table, table=True):
    """Specification `number` for the data, logged as entry `seq`."""

    __tablename__ = "registrations"
    __table_args__: ClassVar[Any] = (UniqueConstraint("data_sha256", "number"), _STRICT)
    data_sha256: str = Field(sa_type=Text)
    specification_sha256: str = Field(sa_type=Text)
    number: int = Field(sa_type=_NUMBER)
    seq: int = Field(
        primary_key=True, sa_type=_NUMBER, sa_column_kwargs=_GIVEN, sa_column_args=[ForeignKey("entries.seq")]
    )


class AttachmentRow(Table, table=True):
    """What somebody else signed over the head of this size, found by its SHA-256."""

    __tablename__ = "attachments"
    size: int = Field(
        primary_key=True, sa_type=_NUMBER, sa_column_kwargs=_GIVEN, sa_column_args=[ForeignKey("checkpoints.size")]
    )
    kind: str = Field(primary_key=True, sa_type=Text)
    sha256: str = Field(primary_key=True, sa_type=Text)
    data: bytes = Field(sa_type=LargeBinary)
