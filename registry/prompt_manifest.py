"""What is known of a frozen prompt: `draft.json` as compiled, and `manifest.json` once a person has frozen it.

A score is a count: how many of the outputs of all examples were right, of how many.
"""

from __future__ import annotations

import json
from typing import Annotated, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from audit import canonical
from audit.errors import AuditError
from registry import folder
from registry.chain import Sha256
from registry.errors import Fault, UnsoundPromptError
from registry.event import IsoDate, Line

MAX_BYTES: Final = 1024 * 1024
PROGRAM: Final = "program.json"
SIGNATURE: Final = "signature.json"
TEMPLATE: Final = "template.json"
PROBES: Final = "probes.jsonl"
MANIFEST: Final = "manifest.json"
DRAFT: Final = "draft.json"
FILES: Final = (PROBES, PROGRAM, SIGNATURE, TEMPLATE)
METRIC: Final = "outputs_right"

PromptName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}_v[1-9][0-9]{0,2}$")]
Count = Annotated[int, Field(ge=0, le=10**9)]
Setting = str | int | bool


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Score(_Frozen):
    """Outputs answered rightly, with the prompt as declared (`before`) and as optimised (`after`)."""

    outputs: Annotated[int, Field(ge=1, le=10**9)]
    before: Count
    after: Count

    @model_validator(mode="after")
    def _within(self) -> Self:
        if max(self.before, self.after) > self.outputs:
            found = str(max(self.before, self.after))
            facts = {"expected": f"at most {self.outputs}", "found": found, "field": "after"}
            raise PydanticCustomError("refused", "expected {expected}, found {found}", facts)
        return self


class Examples(_Frozen):
    """A file of labelled examples: its digest, how many, and the score over them."""

    sha256: Sha256
    examples: Annotated[int, Field(ge=1, le=10**6)]
    score: Score


class Optimiser(_Frozen):
    """What wrote the prompt; `none`: a person."""

    name: Literal["MIPROv2", "GEPA", "none"]
    seed: Count
    settings: dict[str, Setting]


class Draft(_Frozen):
    """What compiling knows of a prompt."""

    schema_version: Literal[1] = 1
    adapter: Literal["chat"]
    dspy: Annotated[str, Field(pattern=r"^[0-9][0-9A-Za-z.+-]{0,39}$")]
    files: dict[str, Sha256]
    held_out: Examples
    metric: Literal["outputs_right"]
    model: Line
    optimiser: Optimiser
    probes: tuple[Sha256, ...]
    revision: Line
    train: Examples

    @property
    def raw(self) -> bytes:
        """What its file holds."""
        return canonical.record(self.model_dump(mode="json")) + b"\n"


class Manifest(Draft):
    """A draft with its name, and who froze it when and why."""

    name: PromptName
    frozen_by: Line
    date: IsoDate
    reason: Line


D = TypeVar("D", bound=Draft)


def parse(kind: type[D], raw: bytes, where: str) -> D:
    """The record whose file is `raw`. Raises UnsoundPromptError, naming `where` and the field, if there is none."""
    try:
        tree = canonical.decode(raw, max_bytes=MAX_BYTES, where=where)
        # Through JSON, because only there do strict models take lists for tuples.
        found = kind.model_validate_json(json.dumps(tree))
        if found.raw != raw:
            raise UnsoundPromptError([Fault(where, "file", "canonical JSON, every field given", "another spelling")])
    except AuditError as error:
        raise UnsoundPromptError([Fault(where, "file", "strict JSON", str(error))]) from error
    except ValidationError as error:
        raise UnsoundPromptError(folder.faults_of(where, error)) from error
    if tuple(sorted(found.files)) != FILES:
        raise UnsoundPromptError([Fault(where, "files", ", ".join(FILES), ", ".join(sorted(found.files)))])
    return found
