"""What a frozen prompt takes and gives: `signature.json`, from which DSPy's signature is made and never the reverse.

DSPy's own saved state leaves types and allowed values out, so that a changed signature would load silently there.

Kinds
-----
text    an input: any text
image   an input: an image, named by its digest `sha256:<64 hex>`; it may be left out
choice  an output: one of `values`
number  an output: a finite number, between `minimum` and `maximum` where they are given
flag    an output: true or false
"""

from __future__ import annotations

import json
import keyword
import math
from typing import Annotated, Final, Literal, NoReturn, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from audit import canonical
from audit.errors import Malformed
from registry import folder
from registry.errors import Fault, UnsoundPromptError
from registry.event import Line

MAX_BYTES: Final = 64 * 1024
MAX_FIELDS: Final = 32
# words that DSPy's predictor or signature takes for itself
RESERVED: Final = frozenset(
    {"completed", "config", "copy", "demos", "fields", "input_fields", "instructions", "json", "lm", "new_signature"}
    | {"output_fields", "schema", "signature", "trace", "validate"}
)

Value: TypeAlias = str | float | bool


def _refuse(expected: str, found: object, field: str) -> NoReturn:
    facts = {"expected": expected, "found": str(found), "field": field}
    raise PydanticCustomError("refused", "expected {expected}, found {found}", facts)


def _name(value: str) -> str:
    if value in RESERVED or keyword.iskeyword(value):
        _refuse("a name that neither Python nor DSPy reserves", repr(value), "name")
    return value


Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$"), AfterValidator(_name)]
Choice = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
Number = Annotated[int | float, Field(ge=-canonical.MAX_INTEGER, le=canonical.MAX_INTEGER)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Input(_Frozen):
    """One field that the model is given."""

    name: Name
    kind: Literal["text", "image"]
    description: Line


class Output(_Frozen):
    """One field that the model answers."""

    name: Name
    kind: Literal["choice", "number", "flag"]
    values: tuple[Choice, ...] = ()
    minimum: Number | None = None
    maximum: Number | None = None
    description: Line

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.kind == "choice":
            if len(self.values) < 2 or len(set(self.values)) != len(self.values):
                _refuse("at least two, each once", ", ".join(self.values) or "none", "values")
        elif self.values:
            _refuse(f"none, for kind {self.kind}", ", ".join(self.values), "values")
        bounds = [bound for bound in (self.minimum, self.maximum) if bound is not None]
        if bounds and self.kind != "number":
            _refuse(f"no bounds, for kind {self.kind}", bounds[0], "minimum")
        if not all(math.isfinite(bound) for bound in bounds):
            _refuse("finite bounds", bounds, "minimum")
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            _refuse(f"below the maximum, {self.maximum}", self.minimum, "minimum")
        return self


class Signature(_Frozen):
    """The typed fields of a prompt, in the order in which they are rendered."""

    schema_version: Literal[1] = 1
    adapter: Literal["chat"]
    inputs: Annotated[tuple[Input, ...], Field(min_length=1, max_length=MAX_FIELDS)]
    outputs: Annotated[tuple[Output, ...], Field(min_length=1, max_length=MAX_FIELDS)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [field.name for field in self.inputs] + [field.name for field in self.outputs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            _refuse("each name once", ", ".join(twice), "name")
        if all(field.kind == "image" for field in self.inputs):
            _refuse("a text among the inputs", "images alone", "inputs")  # for an image may be left out
        return self

    @property
    def raw(self) -> bytes:
        """What `signature.json` holds."""
        return canonical.encode(self.model_dump(mode="json")) + b"\n"


def parse(raw: bytes, where: str) -> Signature:
    """The signature that `raw`, JSON in any spelling, declares.

    Raises UnsoundPromptError naming `where` and the field.
    """
    try:
        tree = canonical.decode(raw, floats=True, max_bytes=MAX_BYTES, where=where)
        # Through JSON, because only there do strict models take lists for tuples.
        return Signature.model_validate_json(json.dumps(tree))
    except Malformed as error:
        raise UnsoundPromptError([Fault(where, "file", "strict JSON", str(error))]) from error
    except ValidationError as error:
        raise UnsoundPromptError(folder.faults_of(where, error)) from error
