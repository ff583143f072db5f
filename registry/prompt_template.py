"""A prompt's messages with places for its inputs: `template.json`, rendered without DSPy.

Written once, by `registry.prompt_dspy`, from what DSPy's adapter renders. An input's text is put in its place once and
never looked at again: braces, markers and anything else in it are text. (DSPy itself expands a marker of its own,
`<<CUSTOM-TYPE-START-IDENTIFIER>>`, found in an input's text; here it stays text, on purpose.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audit import canonical
from audit.errors import Malformed
from registry import chain, folder
from registry.errors import Fault, InputRefusedError, UnsoundPromptError
from registry.prompt_signature import Signature

MAX_BYTES: Final = 4 * 2**20
MAX_CHARS: Final = 100_000  # of one input
BETWEEN: Final = "\n\n"  # the sections of a message
_IMAGE = re.compile(r"sha256:[0-9a-f]{64}")
_SURROGATE = re.compile("[\ud800-\udfff]")

Message: TypeAlias = dict[str, Any]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Said(_Frozen):
    """A message that is the same in every request: the instruction, or half of a demonstration."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Field(min_length=1)]


class Section(_Frozen):
    """One input's place: `before` is the text in front of it."""

    input: str
    before: Annotated[str, Field(min_length=1)]


class Template(_Frozen):
    """What every request begins with, and its last message: the sections of the inputs given, then `end`."""

    said: tuple[Said, ...]
    sections: tuple[Section, ...]
    end: Annotated[str, Field(min_length=1)]

    @property
    def raw(self) -> bytes:
        """What `template.json` holds."""
        return canonical.encode(self.model_dump(mode="json")) + b"\n"

    def render(self, signature: Signature, inputs: Mapping[str, str]) -> tuple[Message, ...]:
        """The messages of one request, images as `image_url` parts with their digest.

        Raises InputRefusedError for an input that is missing (an image may be), unknown, too long or no text.
        """
        require(signature, inputs)
        images = {field.name for field in signature.inputs if field.kind == "image"}
        parts: list[dict[str, Any]] = []
        text = ""
        for section in self.sections:
            if section.input not in inputs:
                continue
            value = inputs[section.input]
            if section.input not in images:
                text += section.before + value + BETWEEN
                continue
            parts += [
                {"type": "text", "text": text + section.before},
                {"type": "image_url", "image_url": {"url": value}},
            ]
            text = BETWEEN
        text += self.end
        content = [*parts, {"type": "text", "text": text}] if parts else text
        said: list[Message] = [{"role": each.role, "content": each.content} for each in self.said]
        return (*said, {"role": "user", "content": content})


def digest(messages: tuple[Message, ...]) -> str:
    """SHA-256 of the canonical JSON of the messages."""
    return chain.sha256(canonical.encode(list(messages)))


def require(signature: Signature, inputs: Mapping[str, str]) -> None:
    """Returns only if `inputs` are what the signature declares. Raises InputRefusedError as `Template.render`."""
    known = {field.name: field.kind for field in signature.inputs}
    for name in sorted(set(inputs) - set(known)):
        raise InputRefusedError(f"{name}: expected one of {', '.join(known)}, found another input")
    for name, kind in known.items():
        if name not in inputs:
            if kind == "text":
                raise InputRefusedError(f"{name}: expected a text, found none")
            continue
        value: object = inputs[name]
        if not isinstance(value, str):
            raise InputRefusedError(f"{name}: expected text, found {type(value).__name__}")
        if kind == "image":
            if not _IMAGE.fullmatch(value):
                raise InputRefusedError(f"{name}: expected sha256:<64 hex>, found {value[:80]!a}")
        elif len(value) > MAX_CHARS:
            raise InputRefusedError(f"{name}: expected at most {MAX_CHARS} characters, found {len(value)}")
        elif _SURROGATE.search(value):
            raise InputRefusedError(f"{name}: expected Unicode scalar values, found a lone surrogate")


def parse(raw: bytes, signature: Signature, where: str) -> Template:
    """The template of `signature` whose file is `raw`. Raises UnsoundPromptError naming `where`."""
    try:
        tree = canonical.decode(raw, max_bytes=MAX_BYTES, where=where)
        # Through JSON, because only there do strict models take lists for tuples.
        found = Template.model_validate_json(json.dumps(tree))
    except Malformed as error:
        raise UnsoundPromptError([Fault(where, "file", "strict JSON", str(error))]) from error
    except ValidationError as error:
        raise UnsoundPromptError(folder.faults_of(where, error)) from error
    if found.raw != raw:
        raise UnsoundPromptError([Fault(where, "file", "canonical JSON, every field given", "another spelling")])
    expected = [field.name for field in signature.inputs]
    places = [section.input for section in found.sections]
    if places != expected:
        raise UnsoundPromptError([Fault(where, "sections", f"one of each of {', '.join(expected)}", ", ".join(places))])
    return found
