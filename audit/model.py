"""Frozen records that have exactly one byte form: pydantic models in, canonical JSON out, and back.

`from_bytes` accepts precisely the bytes `to_bytes` writes for some record: what a model would ignore, fill in
or read loosely changes the bytes, and so is refused.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from audit import canonical
from audit.errors import Malformed

Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,79}$")]
Text: TypeAlias = Annotated[str, Field(min_length=1, max_length=1000)]
Count: TypeAlias = Annotated[int, Field(ge=0, le=canonical.MAX_INTEGER)]
Integer: TypeAlias = Annotated[int, Field(ge=-canonical.MAX_INTEGER, le=canonical.MAX_INTEGER)]
RunId: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,127}$")]


class Frozen(BaseModel):
    """Base of every record: immutable, no unknown fields, no type coercion; camelCase on the wire."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


M = TypeVar("M", bound=BaseModel)


def to_bytes(model: BaseModel) -> bytes:
    """The canonical JSON of `model`; fields that are None are left out."""
    return canonical.record(model.model_dump(mode="json", exclude_none=True))


def from_bytes(adapter: TypeAdapter[M], raw: bytes, where: str, *, max_bytes: int = canonical.MAX_BYTES) -> M:
    """The record whose `to_bytes` is `raw`; Malformed, naming `where` and the field, if there is none."""
    canonical.decode(raw, max_bytes=max_bytes, where=where)
    try:
        model = adapter.validate_json(raw, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise Malformed(f"{field}: {first['msg']}", where, "a record of the declared form", first["input"]) from None
    canonical.require_bytes(raw, to_bytes(model), "not canonical, or fields null or missing", where)
    return model
